select service, count(*) as branches
from (select unnest(services) as service from {{ ref('stg_branches') }})
group by service
order by branches desc, service
