-- Between which types the server converts by itself: `i` everywhere, `a` where a value is stored.
SELECT c.castsource::int8 AS source, c.casttarget::int8 AS target, c.castcontext = 'i'::char AS is_implicit
FROM pg_catalog.pg_cast c
WHERE c.castcontext <> 'e'::char
