-- Hand-written DuckDB SQL for all marts, for comparison in bench/marts.py.
-- The variable lake is the root of the lake.

-- name: setup
CREATE VIEW daily AS FROM read_parquet(getvariable('lake') || '/lake/complex_daily/*/*.parquet', hive_types = {week: DATE});
CREATE VIEW traffic AS FROM read_parquet(getvariable('lake') || '/lake/turnstile_traffic/*/*.parquet', hive_types = {week: DATE});
CREATE VIEW stations AS FROM read_parquet(getvariable('lake') || '/lake/station_complexes/part-0.parquet');
CREATE VIEW hourly AS FROM read_parquet(getvariable('lake') || '/lake/complex_hourly/*/*.parquet');
CREATE VIEW rejected AS FROM read_parquet(getvariable('lake') || '/staged/turnstile_rejects/*/*.parquet', hive_types = {week: DATE});
CREATE TABLE dates AS
WITH weeks AS (SELECT DISTINCT week FROM daily),
days AS (SELECT unnest(range((SELECT min(week) FROM weeks) - INTERVAL 1 DAY, (SELECT max(week) FROM weeks)
    + INTERVAL 7 DAY, INTERVAL 1 DAY))::DATE AS date)
SELECT date, isodow(date)::INT AS weekday, if(isodow(date) < 6, 'weekday', 'weekend') AS day_kind,
    (date - ((isodow(date) + 1) % 7)::INT)::DATE AS week,
    (date - ((isodow(date) + 1) % 7)::INT)::DATE IN (FROM weeks) AS in_lake,
    (date - ((isodow(date) + 1) % 7)::INT)::DATE IN (FROM weeks)
    AND (isodow(date) != 5 OR (date + 1)::DATE IN (FROM weeks)) AS whole
FROM days;

-- name: station_daily
SELECT complex_id, coalesce(s.name, 'Complex ' || complex_id) AS name, borough, latitude, longitude, service_date, entries, exits, coverage,
    coalesce(whole, false) AS is_whole_day
FROM (SELECT complex_id, service_date, if(sum(ok_seconds) = 0 AND sum(entries) = 0, NULL, sum(entries))::BIGINT AS entries,
    if(sum(ok_seconds) = 0, NULL, sum(exits))::BIGINT AS exits,
    sum(ok_seconds) / nullif(sum(turnstile_seconds), 0) AS coverage FROM daily WHERE complex_id IS NOT NULL GROUP BY ALL)
LEFT JOIN stations s USING (complex_id) LEFT JOIN dates ON date = service_date;

-- name: station_peak_hours
WITH blocks AS (
SELECT complex_id, day_kind, hour(hour)::INT // 4 * 4 AS block_start, count(DISTINCT date) AS days,
    round(round(sum(entries), 3))::BIGINT AS entries, round(round(sum(exits), 3))::BIGINT AS exits
FROM hourly h JOIN dates d ON h.hour::DATE = d.date
WHERE whole AND complex_id IS NOT NULL GROUP BY ALL
)
SELECT complex_id, coalesce(s.name, 'Complex ' || complex_id) AS name, borough, day_kind, block_start, days,
    entries / days AS entries_per_day, rank() OVER (day ORDER BY entries / days DESC) AS entries_rank,
    entries / nullif(sum(entries) OVER day, 0) AS entries_share,
    exits / days AS exits_per_day, rank() OVER (day ORDER BY exits / days DESC) AS exits_rank,
    exits / nullif(sum(exits) OVER day, 0) AS exits_share
FROM blocks LEFT JOIN stations s USING (complex_id) WINDOW day AS (PARTITION BY complex_id, day_kind);

-- name: station_week_over_week
WITH weeks AS (SELECT complex_id, week, if(sum(ok_seconds) = 0 AND sum(entries) = 0, NULL, sum(entries))::BIGINT AS entries,
    if(sum(ok_seconds) = 0, NULL, sum(exits))::BIGINT AS exits,
    sum(ok_seconds) / nullif(sum(turnstile_seconds), 0) AS coverage, sum(turnstile_seconds) / 86400 AS turnstile_days
FROM daily WHERE complex_id IS NOT NULL GROUP BY ALL)
SELECT w.complex_id, coalesce(s.name, 'Complex ' || w.complex_id) AS name, borough, w.week, w.entries, w.exits,
    w.coverage,
    b.entries AS entries_week_before,
    (w.entries - b.entries) / nullif(b.entries, 0) AS entries_change_week_before,
    y.entries AS entries_year_before,
    (w.entries - y.entries) / nullif(y.entries, 0) AS entries_change_year_before,
    b.exits AS exits_week_before, (w.exits - b.exits) / nullif(b.exits, 0) AS exits_change_week_before,
    y.exits AS exits_year_before, (w.exits - y.exits) / nullif(y.exits, 0) AS exits_change_year_before,
    w.turnstile_days, b.turnstile_days AS turnstile_days_week_before,
    y.turnstile_days AS turnstile_days_year_before
FROM weeks w LEFT JOIN weeks b ON b.complex_id = w.complex_id AND b.week = w.week - 7
LEFT JOIN weeks y ON y.complex_id = w.complex_id AND y.week = w.week - 364
LEFT JOIN stations s ON s.complex_id = w.complex_id;

-- name: system_daily
WITH days AS (SELECT service_date, division, complex_id,
    sum(entries) FILTER (entries_status = 'ok') AS entries, sum(exits) FILTER (exits_status = 'ok') AS exits,
    sum(date_diff('second', started_at, ended_at)) AS seconds,
    sum(date_diff('second', started_at, ended_at)) FILTER (exits_status = 'ok') AS ok
FROM traffic WHERE division IN ('BMT', 'IRT', 'IND') AND control_area != 'OB01' AND started_at IS NOT NULL GROUP BY ALL),
sums AS (SELECT service_date, division, borough, sum(entries)::BIGINT AS entries, sum(exits)::BIGINT AS exits,
    sum(seconds)::BIGINT AS turnstile_seconds, coalesce(sum(ok), 0)::BIGINT AS ok_seconds
FROM days LEFT JOIN stations USING (complex_id) GROUP BY ALL)
SELECT sums.*, ok_seconds / nullif(turnstile_seconds, 0) AS coverage, coalesce(whole, false) AS is_whole_day
FROM sums LEFT JOIN dates ON date = service_date;

-- name: busiest_places
WITH hours AS (
SELECT complex_id, weekday, hour(hour)::INT AS clock, count(DISTINCT date) AS days,
    round(round(sum(entries), 3))::BIGINT AS entries, round(round(sum(exits), 3))::BIGINT AS exits
FROM hourly h JOIN dates d ON h.hour::DATE = d.date
WHERE whole AND complex_id IS NOT NULL GROUP BY ALL
)
SELECT weekday, clock AS hour, complex_id, coalesce(s.name, 'Complex ' || complex_id) AS name, borough, latitude, longitude, days,
    entries / days AS entries_per_day, rank() OVER (hour ORDER BY entries / days DESC) AS entries_rank,
    exits / days AS exits_per_day, rank() OVER (hour ORDER BY exits / days DESC) AS exits_rank
FROM hours LEFT JOIN stations s USING (complex_id) WINDOW hour AS (PARTITION BY weekday, clock);

-- name: data_quality_weekly
WITH counts AS (SELECT week, count(*) AS readings, count(DISTINCT (control_area, unit, scp)) AS turnstiles,
    count(*) FILTER (entries_status = 'first') AS entries_first, count(*) FILTER (entries_status = 'reset') AS entries_reset, count(*) FILTER (entries_status = 'implausible') AS entries_implausible, count(*) FILTER (entries_status = 'long_gap') AS entries_long_gap, count(*) FILTER (entries_status = 'ok') AS entries_ok, count(*) FILTER (exits_status = 'first') AS exits_first, count(*) FILTER (exits_status = 'reset') AS exits_reset, count(*) FILTER (exits_status = 'implausible') AS exits_implausible, count(*) FILTER (exits_status = 'long_gap') AS exits_long_gap, count(*) FILTER (exits_status = 'ok') AS exits_ok,
    sum(date_diff('second', started_at, ended_at)) FILTER (division IN ('BMT', 'IRT', 'IND') AND control_area != 'OB01') AS seconds,
    sum(date_diff('second', started_at, ended_at)) FILTER (division IN ('BMT', 'IRT', 'IND') AND control_area != 'OB01' AND exits_status = 'ok') AS ok,
    sum(entries) FILTER (division IN ('BMT', 'IRT', 'IND') AND control_area != 'OB01' AND complex_id IS NULL AND entries_status = 'ok') AS entries_nowhere,
    sum(exits) FILTER (division IN ('BMT', 'IRT', 'IND') AND control_area != 'OB01' AND complex_id IS NULL AND exits_status = 'ok') AS exits_nowhere
FROM traffic GROUP BY week),
rejects AS (SELECT week, count(*) FILTER (reason = 'field_count') AS r_field_count, count(*) FILTER (reason = 'bad_turnstile') AS r_bad_turnstile, count(*) FILTER (reason = 'bad_timestamp') AS r_bad_timestamp, count(*) FILTER (reason = 'bad_register') AS r_bad_register, count(*) FILTER (reason = 'outside_window') AS r_outside_window, count(*) FILTER (reason = 'junk_header') AS r_junk_header, count(*) FILTER (reason = 'duplicate') AS r_duplicate, count(*) FILTER (reason = 'superseded') AS r_superseded, count(*) FILTER (reason = 'too_long') AS r_too_long
FROM rejected
GROUP BY week)
SELECT d.week, in_lake, readings, turnstiles,
    if(in_lake, coalesce(r_field_count, 0), NULL) AS rejects_field_count, if(in_lake, coalesce(r_bad_turnstile, 0), NULL) AS rejects_bad_turnstile, if(in_lake, coalesce(r_bad_timestamp, 0), NULL) AS rejects_bad_timestamp, if(in_lake, coalesce(r_bad_register, 0), NULL) AS rejects_bad_register, if(in_lake, coalesce(r_outside_window, 0), NULL) AS rejects_outside_window, if(in_lake, coalesce(r_junk_header, 0), NULL) AS rejects_junk_header, if(in_lake, coalesce(r_duplicate, 0), NULL) AS rejects_duplicate, if(in_lake, coalesce(r_superseded, 0), NULL) AS rejects_superseded, if(in_lake, coalesce(r_too_long, 0), NULL) AS rejects_too_long,
    counts.* EXCLUDE (week, readings, turnstiles, seconds, ok, entries_nowhere, exits_nowhere),
    coalesce(ok, 0) / nullif(seconds, 0) AS coverage,
    if(in_lake, coalesce(entries_nowhere, 0), NULL)::BIGINT AS entries_without_complex,
    if(in_lake, coalesce(exits_nowhere, 0), NULL)::BIGINT AS exits_without_complex
FROM (FROM dates WHERE weekday = 6) d LEFT JOIN counts USING (week) LEFT JOIN rejects USING (week);
