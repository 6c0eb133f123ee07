SELECT
  `t12`.`week`,
  `t12`.`in_lake`,
  `t12`.`readings`,
  `t12`.`turnstiles`,
  IF(`t12`.`in_lake`, COALESCE(`t12`.`rejects_field_count`, 0), NULL) AS `rejects_field_count`,
  IF(`t12`.`in_lake`, COALESCE(`t12`.`rejects_bad_turnstile`, 0), NULL) AS `rejects_bad_turnstile`,
  IF(`t12`.`in_lake`, COALESCE(`t12`.`rejects_bad_timestamp`, 0), NULL) AS `rejects_bad_timestamp`,
  IF(`t12`.`in_lake`, COALESCE(`t12`.`rejects_bad_register`, 0), NULL) AS `rejects_bad_register`,
  IF(`t12`.`in_lake`, COALESCE(`t12`.`rejects_outside_window`, 0), NULL) AS `rejects_outside_window`,
  IF(`t12`.`in_lake`, COALESCE(`t12`.`rejects_junk_header`, 0), NULL) AS `rejects_junk_header`,
  IF(`t12`.`in_lake`, COALESCE(`t12`.`rejects_duplicate`, 0), NULL) AS `rejects_duplicate`,
  IF(`t12`.`in_lake`, COALESCE(`t12`.`rejects_superseded`, 0), NULL) AS `rejects_superseded`,
  IF(`t12`.`in_lake`, COALESCE(`t12`.`rejects_too_long`, 0), NULL) AS `rejects_too_long`,
  `t12`.`entries_first`,
  `t12`.`entries_reset`,
  `t12`.`entries_implausible`,
  `t12`.`entries_long_gap`,
  `t12`.`entries_ok`,
  `t12`.`exits_first`,
  `t12`.`exits_reset`,
  `t12`.`exits_implausible`,
  `t12`.`exits_long_gap`,
  `t12`.`exits_ok`,
  ieee_divide(COALESCE(`t12`.`ok_seconds`, 0), NULLIF(`t12`.`turnstile_seconds`, 0)) AS `coverage`,
  `t12`.`entries_without_complex`,
  `t12`.`exits_without_complex`
FROM (
  SELECT
    `t4`.`week`,
    `t4`.`in_lake`,
    `t11`.`counted_week`,
    `t11`.`turnstiles`,
    `t11`.`readings`,
    `t11`.`entries_first`,
    `t11`.`entries_reset`,
    `t11`.`entries_implausible`,
    `t11`.`entries_long_gap`,
    `t11`.`entries_ok`,
    `t11`.`exits_first`,
    `t11`.`exits_reset`,
    `t11`.`exits_implausible`,
    `t11`.`exits_long_gap`,
    `t11`.`exits_ok`,
    `t11`.`turnstile_seconds`,
    `t11`.`ok_seconds`,
    `t11`.`entries_without_complex`,
    `t11`.`exits_without_complex`,
    `t8`.`rejects_week`,
    `t8`.`rejects_field_count`,
    `t8`.`rejects_bad_turnstile`,
    `t8`.`rejects_bad_timestamp`,
    `t8`.`rejects_bad_register`,
    `t8`.`rejects_outside_window`,
    `t8`.`rejects_junk_header`,
    `t8`.`rejects_duplicate`,
    `t8`.`rejects_superseded`,
    `t8`.`rejects_too_long`
  FROM (
    SELECT
      `t0`.`week`,
      `t0`.`in_lake`
    FROM `warehouse`.`dim_date` AS `t0`
    WHERE
      `t0`.`weekday` = 6
  ) AS `t4`
  LEFT OUTER JOIN (
    SELECT
      `t9`.`week` AS `counted_week`,
      `t9`.`turnstiles`,
      `t9`.`readings`,
      `t9`.`entries_first`,
      `t9`.`entries_reset`,
      `t9`.`entries_implausible`,
      `t9`.`entries_long_gap`,
      `t9`.`entries_ok`,
      `t9`.`exits_first`,
      `t9`.`exits_reset`,
      `t9`.`exits_implausible`,
      `t9`.`exits_long_gap`,
      `t9`.`exits_ok`,
      `t9`.`turnstile_seconds`,
      `t9`.`ok_seconds`,
      COALESCE(`t9`.`entries_without_complex`, 0) AS `entries_without_complex`,
      COALESCE(`t9`.`exits_without_complex`, 0) AS `exits_without_complex`
    FROM (
      SELECT
        `t7`.`week`,
        COUNT(*) AS `turnstiles`,
        SUM(`t7`.`readings`) AS `readings`,
        SUM(`t7`.`entries_first`) AS `entries_first`,
        SUM(`t7`.`entries_reset`) AS `entries_reset`,
        SUM(`t7`.`entries_implausible`) AS `entries_implausible`,
        SUM(`t7`.`entries_long_gap`) AS `entries_long_gap`,
        SUM(`t7`.`entries_ok`) AS `entries_ok`,
        SUM(`t7`.`exits_first`) AS `exits_first`,
        SUM(`t7`.`exits_reset`) AS `exits_reset`,
        SUM(`t7`.`exits_implausible`) AS `exits_implausible`,
        SUM(`t7`.`exits_long_gap`) AS `exits_long_gap`,
        SUM(`t7`.`exits_ok`) AS `exits_ok`,
        SUM(`t7`.`turnstile_seconds`) AS `turnstile_seconds`,
        SUM(`t7`.`ok_seconds`) AS `ok_seconds`,
        SUM(`t7`.`entries_without_complex`) AS `entries_without_complex`,
        SUM(`t7`.`exits_without_complex`) AS `exits_without_complex`
      FROM (
        SELECT
          `t2`.`week`,
          `t2`.`control_area`,
          `t2`.`unit`,
          `t2`.`scp`,
          COUNT(*) AS `readings`,
          COUNTIF(`t2`.`entries_status` = 'first') AS `entries_first`,
          COUNTIF(`t2`.`entries_status` = 'reset') AS `entries_reset`,
          COUNTIF(`t2`.`entries_status` = 'implausible') AS `entries_implausible`,
          COUNTIF(`t2`.`entries_status` = 'long_gap') AS `entries_long_gap`,
          COUNTIF(`t2`.`entries_status` = 'ok') AS `entries_ok`,
          COUNTIF(`t2`.`exits_status` = 'first') AS `exits_first`,
          COUNTIF(`t2`.`exits_status` = 'reset') AS `exits_reset`,
          COUNTIF(`t2`.`exits_status` = 'implausible') AS `exits_implausible`,
          COUNTIF(`t2`.`exits_status` = 'long_gap') AS `exits_long_gap`,
          COUNTIF(`t2`.`exits_status` = 'ok') AS `exits_ok`,
          SUM(
            IF(`t2`.`is_subway` AND (
              `t2`.`started_at` IS NOT NULL
            ), `t2`.`seconds`, NULL)
          ) AS `turnstile_seconds`,
          SUM(
            IF(
              `t2`.`is_subway`
              AND (
                `t2`.`started_at` IS NOT NULL
              )
              AND (
                `t2`.`exits_status` = 'ok'
              ),
              `t2`.`seconds`,
              NULL
            )
          ) AS `ok_seconds`,
          SUM(
            IF(
              `t2`.`is_subway`
              AND (
                `t2`.`complex_id` IS NULL
              )
              AND (
                `t2`.`entries_status` = 'ok'
              ),
              `t2`.`entries`,
              NULL
            )
          ) AS `entries_without_complex`,
          SUM(
            IF(
              `t2`.`is_subway`
              AND (
                `t2`.`complex_id` IS NULL
              )
              AND (
                `t2`.`exits_status` = 'ok'
              ),
              `t2`.`exits`,
              NULL
            )
          ) AS `exits_without_complex`
        FROM `warehouse`.`fact_turnstile` AS `t2`
        GROUP BY
          1,
          2,
          3,
          4
      ) AS `t7`
      GROUP BY
        1
    ) AS `t9`
  ) AS `t11`
    ON `t4`.`in_lake` AND `t4`.`week` = `t11`.`counted_week`
  LEFT OUTER JOIN (
    SELECT
      `t5`.`week` AS `rejects_week`,
      `t5`.`rejects_field_count`,
      `t5`.`rejects_bad_turnstile`,
      `t5`.`rejects_bad_timestamp`,
      `t5`.`rejects_bad_register`,
      `t5`.`rejects_outside_window`,
      `t5`.`rejects_junk_header`,
      `t5`.`rejects_duplicate`,
      `t5`.`rejects_superseded`,
      `t5`.`rejects_too_long`
    FROM (
      SELECT
        `t1`.`week`,
        COUNTIF(`t1`.`reason` = 'field_count') AS `rejects_field_count`,
        COUNTIF(`t1`.`reason` = 'bad_turnstile') AS `rejects_bad_turnstile`,
        COUNTIF(`t1`.`reason` = 'bad_timestamp') AS `rejects_bad_timestamp`,
        COUNTIF(`t1`.`reason` = 'bad_register') AS `rejects_bad_register`,
        COUNTIF(`t1`.`reason` = 'outside_window') AS `rejects_outside_window`,
        COUNTIF(`t1`.`reason` = 'junk_header') AS `rejects_junk_header`,
        COUNTIF(`t1`.`reason` = 'duplicate') AS `rejects_duplicate`,
        COUNTIF(`t1`.`reason` = 'superseded') AS `rejects_superseded`,
        COUNTIF(`t1`.`reason` = 'too_long') AS `rejects_too_long`
      FROM `staged`.`turnstile_rejects` AS `t1`
      GROUP BY
        1
    ) AS `t5`
  ) AS `t8`
    ON `t4`.`in_lake` AND `t4`.`week` = `t8`.`rejects_week`
) AS `t12`
