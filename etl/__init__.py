"""From hospital systems into the warehouse: records, films, boxes, links, cohort."""
