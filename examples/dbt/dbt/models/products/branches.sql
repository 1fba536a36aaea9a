select branch_id, title, zip, neighborhood
from {{ ref('stg_branches') }}
left join {{ source('larder', 'zip_codes') }} using (zip)
order by branch_id
