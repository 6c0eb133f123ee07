SELECT
  `t24`.`complex_id`,
  COALESCE(`t24`.`station`, CONCAT('Complex ', CAST(`t24`.`complex_id` AS STRING))) AS `name`,
  `t24`.`borough`,
  `t24`.`service_date`,
  `t24`.`entries`,
  `t24`.`share_source`,
  `t24`.`omny_share`,
  `t24`.`ridership_estimate`,
  `t24`.`estimate_low`,
  `t24`.`estimate_high`,
  `t24`.`coverage`,
  `t24`.`is_whole_day`
FROM (
  SELECT
    `t23`.`complex_id`,
    `t23`.`service_date`,
    `t23`.`entries`,
    `t23`.`exits`,
    `t23`.`turnstile_seconds`,
    `t23`.`ok_seconds`,
    `t23`.`month`,
    `t23`.`share_source`,
    `t23`.`omny_share`,
    `t23`.`ridership_estimate`,
    `t23`.`estimate_low`,
    `t23`.`estimate_high`,
    `t23`.`whole`,
    `t23`.`coverage`,
    `t23`.`is_whole_day`,
    `t6`.`known`,
    `t6`.`station`,
    `t6`.`borough`,
    `t6`.`latitude`,
    `t6`.`longitude`
  FROM (
    SELECT
      `t21`.`complex_id`,
      `t21`.`service_date`,
      `t21`.`entries`,
      `t21`.`exits`,
      `t21`.`turnstile_seconds`,
      `t21`.`ok_seconds`,
      `t21`.`month`,
      `t21`.`share_source`,
      `t21`.`omny_share`,
      `t21`.`ridership_estimate`,
      `t21`.`estimate_low`,
      `t21`.`estimate_high`,
      `t21`.`whole`,
      ieee_divide(COALESCE(`t21`.`ok_seconds`, 0), NULLIF(`t21`.`turnstile_seconds`, 0)) AS `coverage`,
      `t21`.`whole` IS NOT NULL AS `is_whole_day`
    FROM (
      SELECT
        `t20`.`complex_id`,
        `t20`.`service_date`,
        `t20`.`entries`,
        `t20`.`exits`,
        `t20`.`turnstile_seconds`,
        `t20`.`ok_seconds`,
        `t20`.`month`,
        `t20`.`share_source`,
        `t20`.`omny_share`,
        `t20`.`ridership_estimate`,
        `t20`.`estimate_low`,
        `t20`.`estimate_high`,
        `t7`.`whole`
      FROM (
        SELECT
          `t18`.`complex_id`,
          `t18`.`service_date`,
          `t18`.`entries`,
          `t18`.`exits`,
          `t18`.`turnstile_seconds`,
          `t18`.`ok_seconds`,
          `t18`.`month`,
          `t18`.`share_source`,
          ieee_divide(`t18`.`taps`, `t18`.`riders`) AS `omny_share`,
          ieee_divide(`t18`.`entries` * `t18`.`riders`, `t18`.`riders` - `t18`.`taps`) AS `ridership_estimate`,
          ieee_divide(
            `t18`.`entries`,
            NULLIF(1 - COALESCE(`t18`.`low`, ieee_divide(`t18`.`taps`, `t18`.`riders`)), 0)
          ) * 0.933 AS `estimate_low`,
          ieee_divide(
            `t18`.`entries`,
            NULLIF(1 - COALESCE(`t18`.`high`, ieee_divide(`t18`.`taps`, `t18`.`riders`)), 0)
          ) * 1.067 AS `estimate_high`
        FROM (
          SELECT
            `t17`.`complex_id`,
            `t17`.`service_date`,
            `t17`.`entries`,
            `t17`.`exits`,
            `t17`.`turnstile_seconds`,
            `t17`.`ok_seconds`,
            `t17`.`month`,
            `t17`.`share_source`,
            CASE
              WHEN `t17`.`share_source` = 'before_omny'
              THEN 1
              WHEN `t17`.`share_source` = 'complex'
              THEN `t17`.`own_ridership`
              WHEN `t17`.`share_source` = 'subway'
              THEN `t17`.`subway_ridership`
              ELSE NULL
            END AS `riders`,
            CASE
              WHEN `t17`.`share_source` = 'before_omny'
              THEN 0
              WHEN `t17`.`share_source` = 'complex'
              THEN `t17`.`own_omny_ridership`
              WHEN `t17`.`share_source` = 'subway'
              THEN `t17`.`subway_omny_ridership`
              ELSE NULL
            END AS `taps`,
            CASE
              WHEN `t17`.`share_source` = 'before_omny'
              THEN 0.0
              WHEN `t17`.`share_source` = 'complex'
              THEN `t17`.`own_share_low`
              WHEN `t17`.`share_source` = 'subway'
              THEN `t17`.`subway_share_low`
              ELSE NULL
            END AS `low`,
            CASE
              WHEN `t17`.`share_source` = 'before_omny'
              THEN 0.0
              WHEN `t17`.`share_source` = 'complex'
              THEN `t17`.`own_share_high`
              WHEN `t17`.`share_source` = 'subway'
              THEN `t17`.`subway_share_high`
              ELSE NULL
            END AS `high`
          FROM (
            SELECT
              `t16`.`complex_id`,
              `t16`.`service_date`,
              `t16`.`entries`,
              `t16`.`exits`,
              `t16`.`turnstile_seconds`,
              `t16`.`ok_seconds`,
              `t16`.`month`,
              `t16`.`own_complex`,
              `t16`.`own_month`,
              `t16`.`own_ridership`,
              `t16`.`own_omny_ridership`,
              `t16`.`own_share_low`,
              `t16`.`own_share_high`,
              `t16`.`subway_month`,
              `t16`.`subway_ridership`,
              `t16`.`subway_omny_ridership`,
              `t16`.`subway_share_low`,
              `t16`.`subway_share_high`,
              CASE
                WHEN `t16`.`month` < DATE(2019, 5, 1)
                THEN 'before_omny'
                WHEN `t16`.`own_ridership` IS NOT NULL
                THEN 'complex'
                WHEN `t16`.`subway_ridership` IS NOT NULL
                THEN 'subway'
                ELSE 'unknown'
              END AS `share_source`
            FROM (
              SELECT
                `t15`.`complex_id`,
                `t15`.`service_date`,
                `t15`.`entries`,
                `t15`.`exits`,
                `t15`.`turnstile_seconds`,
                `t15`.`ok_seconds`,
                `t15`.`month`,
                `t11`.`own_complex`,
                `t11`.`own_month`,
                `t11`.`own_ridership`,
                `t11`.`own_omny_ridership`,
                `t11`.`own_share_low`,
                `t11`.`own_share_high`,
                `t12`.`subway_month`,
                `t12`.`subway_ridership`,
                `t12`.`subway_omny_ridership`,
                `t12`.`subway_share_low`,
                `t12`.`subway_share_high`
              FROM (
                SELECT
                  `t13`.`complex_id`,
                  `t13`.`service_date`,
                  `t13`.`entries`,
                  `t13`.`exits`,
                  `t13`.`turnstile_seconds`,
                  `t13`.`ok_seconds`,
                  DATE_TRUNC(`t13`.`service_date`, MONTH) AS `month`
                FROM (
                  SELECT
                    `t10`.`complex_id`,
                    `t10`.`service_date`,
                    IF(
                      (
                        SUM(`t10`.`ok_seconds`) = 0
                      ) AND (
                        SUM(`t10`.`entries`) = 0
                      ),
                      NULL,
                      SUM(`t10`.`entries`)
                    ) AS `entries`,
                    IF(SUM(`t10`.`ok_seconds`) = 0, NULL, SUM(`t10`.`exits`)) AS `exits`,
                    SUM(`t10`.`turnstile_seconds`) AS `turnstile_seconds`,
                    SUM(`t10`.`ok_seconds`) AS `ok_seconds`
                  FROM (
                    SELECT
                      *
                    FROM `lake`.`complex_daily` AS `t3`
                    WHERE
                      `t3`.`complex_id` IS NOT NULL
                  ) AS `t10`
                  GROUP BY
                    1,
                    2
                ) AS `t13`
              ) AS `t15`
              LEFT OUTER JOIN (
                SELECT
                  `t2`.`complex_id` AS `own_complex`,
                  `t2`.`month` AS `own_month`,
                  `t2`.`ridership` AS `own_ridership`,
                  `t2`.`omny_ridership` AS `own_omny_ridership`,
                  `t2`.`share_low` AS `own_share_low`,
                  `t2`.`share_high` AS `own_share_high`
                FROM `lake`.`omny_share` AS `t2`
                WHERE
                  `t2`.`omny_ridership` < `t2`.`ridership` AND `t2`.`complex_id` IS NOT NULL
              ) AS `t11`
                ON `t15`.`complex_id` = `t11`.`own_complex` AND `t15`.`month` = `t11`.`own_month`
              LEFT OUTER JOIN (
                SELECT
                  `t2`.`month` AS `subway_month`,
                  `t2`.`ridership` AS `subway_ridership`,
                  `t2`.`omny_ridership` AS `subway_omny_ridership`,
                  `t2`.`share_low` AS `subway_share_low`,
                  `t2`.`share_high` AS `subway_share_high`
                FROM `lake`.`omny_share` AS `t2`
                WHERE
                  `t2`.`omny_ridership` < `t2`.`ridership` AND `t2`.`complex_id` IS NULL
              ) AS `t12`
                ON `t15`.`month` = `t12`.`subway_month`
            ) AS `t16`
          ) AS `t17`
        ) AS `t18`
      ) AS `t20`
      LEFT OUTER JOIN (
        SELECT
          `t1`.`date` AS `whole`
        FROM `warehouse`.`dim_date` AS `t1`
        WHERE
          `t1`.`is_whole_day`
      ) AS `t7`
        ON `t20`.`service_date` = `t7`.`whole`
    ) AS `t21`
  ) AS `t23`
  LEFT OUTER JOIN (
    SELECT
      `t0`.`complex_id` AS `known`,
      `t0`.`name` AS `station`,
      `t0`.`borough`,
      `t0`.`latitude`,
      `t0`.`longitude`
    FROM `warehouse`.`dim_station` AS `t0`
  ) AS `t6`
    ON `t23`.`complex_id` = `t6`.`known`
) AS `t24`
