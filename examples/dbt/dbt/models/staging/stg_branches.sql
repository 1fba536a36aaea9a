select
    branchid::integer as branch_id,
    title,
    regexp_extract(address, '(\d{5})\s*$', 1) as zip,
    string_split(rtrim(tags, ';'), ';') as services
from {{ source('larder', 'bpl_libraries') }}
