SELECT
  `t36`.`complex_id`,
  COALESCE(`t36`.`station`, CONCAT('Complex ', CAST(`t36`.`complex_id` AS STRING))) AS `name`,
  `t36`.`borough`,
  `t36`.`week`,
  `t36`.`days`,
  `t36`.`entries`,
  `t36`.`ridership_estimate`,
  `t36`.`published`,
  `t36`.`ratio`,
  `t36`.`has_fallback_share`,
  `t36`.`coverage`
FROM (
  SELECT
    `t35`.`complex_id`,
    `t35`.`week`,
    `t35`.`days`,
    `t35`.`entries`,
    `t35`.`ridership_estimate`,
    `t35`.`published`,
    `t35`.`turnstile_seconds`,
    `t35`.`ok_seconds`,
    `t35`.`has_fallback_share`,
    `t35`.`ratio`,
    `t35`.`coverage`,
    `t7`.`known`,
    `t7`.`station`,
    `t7`.`borough`,
    `t7`.`latitude`,
    `t7`.`longitude`
  FROM (
    SELECT
      `t33`.`complex_id`,
      `t33`.`week`,
      `t33`.`days`,
      `t33`.`entries`,
      `t33`.`ridership_estimate`,
      `t33`.`published`,
      `t33`.`turnstile_seconds`,
      `t33`.`ok_seconds`,
      `t33`.`has_fallback_share`,
      ieee_divide(`t33`.`ridership_estimate`, NULLIF(`t33`.`published`, 0)) AS `ratio`,
      ieee_divide(COALESCE(`t33`.`ok_seconds`, 0), NULLIF(`t33`.`turnstile_seconds`, 0)) AS `coverage`
    FROM (
      SELECT
        `t32`.`complex_id`,
        `t32`.`week`,
        SUM(`t32`.`days`) AS `days`,
        SUM(`t32`.`entries`) AS `entries`,
        SUM(`t32`.`ridership_estimate`) AS `ridership_estimate`,
        SUM(`t32`.`published`) AS `published`,
        SUM(`t32`.`turnstile_seconds`) AS `turnstile_seconds`,
        SUM(`t32`.`ok_seconds`) AS `ok_seconds`,
        LOGICAL_OR(`t32`.`share_source` = 'subway') AS `has_fallback_share`
      FROM (
        SELECT
          `t31`.`complex_id`,
          `t31`.`week`,
          `t31`.`month`,
          `t31`.`days`,
          `t31`.`entries`,
          `t31`.`published`,
          `t31`.`turnstile_seconds`,
          `t31`.`ok_seconds`,
          `t31`.`share_source`,
          ieee_divide(`t31`.`taps`, `t31`.`riders`) AS `omny_share`,
          ieee_divide(`t31`.`entries` * `t31`.`riders`, `t31`.`riders` - `t31`.`taps`) AS `ridership_estimate`,
          ieee_divide(
            `t31`.`entries`,
            NULLIF(1 - COALESCE(`t31`.`low`, ieee_divide(`t31`.`taps`, `t31`.`riders`)), 0)
          ) * 0.933 AS `estimate_low`,
          ieee_divide(
            `t31`.`entries`,
            NULLIF(1 - COALESCE(`t31`.`high`, ieee_divide(`t31`.`taps`, `t31`.`riders`)), 0)
          ) * 1.067 AS `estimate_high`
        FROM (
          SELECT
            `t30`.`complex_id`,
            `t30`.`week`,
            `t30`.`month`,
            `t30`.`days`,
            `t30`.`entries`,
            `t30`.`published`,
            `t30`.`turnstile_seconds`,
            `t30`.`ok_seconds`,
            `t30`.`share_source`,
            CASE
              WHEN `t30`.`share_source` = 'before_omny'
              THEN 1
              WHEN `t30`.`share_source` = 'complex'
              THEN `t30`.`own_ridership`
              WHEN `t30`.`share_source` = 'subway'
              THEN `t30`.`subway_ridership`
              ELSE NULL
            END AS `riders`,
            CASE
              WHEN `t30`.`share_source` = 'before_omny'
              THEN 0
              WHEN `t30`.`share_source` = 'complex'
              THEN `t30`.`own_omny_ridership`
              WHEN `t30`.`share_source` = 'subway'
              THEN `t30`.`subway_omny_ridership`
              ELSE NULL
            END AS `taps`,
            CASE
              WHEN `t30`.`share_source` = 'before_omny'
              THEN 0.0
              WHEN `t30`.`share_source` = 'complex'
              THEN `t30`.`own_share_low`
              WHEN `t30`.`share_source` = 'subway'
              THEN `t30`.`subway_share_low`
              ELSE NULL
            END AS `low`,
            CASE
              WHEN `t30`.`share_source` = 'before_omny'
              THEN 0.0
              WHEN `t30`.`share_source` = 'complex'
              THEN `t30`.`own_share_high`
              WHEN `t30`.`share_source` = 'subway'
              THEN `t30`.`subway_share_high`
              ELSE NULL
            END AS `high`
          FROM (
            SELECT
              `t29`.`complex_id`,
              `t29`.`week`,
              `t29`.`month`,
              `t29`.`days`,
              `t29`.`entries`,
              `t29`.`published`,
              `t29`.`turnstile_seconds`,
              `t29`.`ok_seconds`,
              `t29`.`own_complex`,
              `t29`.`own_month`,
              `t29`.`own_ridership`,
              `t29`.`own_omny_ridership`,
              `t29`.`own_share_low`,
              `t29`.`own_share_high`,
              `t29`.`subway_month`,
              `t29`.`subway_ridership`,
              `t29`.`subway_omny_ridership`,
              `t29`.`subway_share_low`,
              `t29`.`subway_share_high`,
              CASE
                WHEN `t29`.`month` < DATE(2019, 5, 1)
                THEN 'before_omny'
                WHEN `t29`.`own_ridership` IS NOT NULL
                THEN 'complex'
                WHEN `t29`.`subway_ridership` IS NOT NULL
                THEN 'subway'
                ELSE 'unknown'
              END AS `share_source`
            FROM (
              SELECT
                `t28`.`complex_id`,
                `t28`.`week`,
                `t28`.`month`,
                `t28`.`days`,
                `t28`.`entries`,
                `t28`.`published`,
                `t28`.`turnstile_seconds`,
                `t28`.`ok_seconds`,
                `t14`.`own_complex`,
                `t14`.`own_month`,
                `t14`.`own_ridership`,
                `t14`.`own_omny_ridership`,
                `t14`.`own_share_low`,
                `t14`.`own_share_high`,
                `t15`.`subway_month`,
                `t15`.`subway_ridership`,
                `t15`.`subway_omny_ridership`,
                `t15`.`subway_share_low`,
                `t15`.`subway_share_high`
              FROM (
                SELECT
                  `t26`.`complex_id`,
                  `t26`.`week`,
                  DATE_TRUNC(`t26`.`date`, MONTH) AS `month`,
                  COUNT(*) AS `days`,
                  SUM(`t26`.`entries`) AS `entries`,
                  SUM(`t26`.`published`) AS `published`,
                  SUM(`t26`.`turnstile_seconds`) AS `turnstile_seconds`,
                  SUM(`t26`.`ok_seconds`) AS `ok_seconds`
                FROM (
                  SELECT
                    `t21`.`complex_id`,
                    `t21`.`service_date`,
                    `t21`.`entries`,
                    `t21`.`exits`,
                    `t21`.`turnstile_seconds`,
                    `t21`.`ok_seconds`,
                    `t10`.`date`,
                    `t10`.`week`,
                    `t25`.`there`,
                    `t25`.`on`,
                    `t25`.`published`
                  FROM (
                    SELECT
                      *
                    FROM (
                      SELECT
                        `t11`.`complex_id`,
                        `t11`.`service_date`,
                        IF(
                          (
                            SUM(`t11`.`ok_seconds`) = 0
                          ) AND (
                            SUM(`t11`.`entries`) = 0
                          ),
                          NULL,
                          SUM(`t11`.`entries`)
                        ) AS `entries`,
                        IF(SUM(`t11`.`ok_seconds`) = 0, NULL, SUM(`t11`.`exits`)) AS `exits`,
                        SUM(`t11`.`turnstile_seconds`) AS `turnstile_seconds`,
                        SUM(`t11`.`ok_seconds`) AS `ok_seconds`
                      FROM (
                        SELECT
                          *
                        FROM `lake`.`complex_daily` AS `t3`
                        WHERE
                          `t3`.`complex_id` IS NOT NULL
                      ) AS `t11`
                      GROUP BY
                        1,
                        2
                    ) AS `t19`
                    WHERE
                      `t19`.`entries` IS NOT NULL
                  ) AS `t21`
                  INNER JOIN (
                    SELECT
                      `t2`.`date`,
                      `t2`.`week`
                    FROM `warehouse`.`dim_date` AS `t2`
                    WHERE
                      `t2`.`is_whole_day`
                  ) AS `t10`
                    ON `t21`.`service_date` = `t10`.`date`
                  INNER JOIN (
                    SELECT
                      `t18`.`there`,
                      `t18`.`on`,
                      `t18`.`published`
                    FROM (
                      SELECT
                        `t12`.`complex_id` AS `there`,
                        `t12`.`on`,
                        SUM(`t12`.`ridership`) AS `published`
                      FROM (
                        SELECT
                          `t4`.`week`,
                          `t4`.`complex_id`,
                          `t4`.`hour`,
                          `t4`.`ridership`,
                          `t4`.`transfers`,
                          `t4`.`omny_ridership`,
                          `t4`.`omny_share`,
                          DATE(`t4`.`hour`) AS `on`
                        FROM `lake`.`complex_hourly_published` AS `t4`
                        WHERE
                          `t4`.`complex_id` IS NOT NULL
                      ) AS `t12`
                      GROUP BY
                        1,
                        2
                    ) AS `t18`
                    WHERE
                      EXISTS(
                        SELECT
                          1
                        FROM (
                          SELECT
                            `t17`.`on` AS `complete`
                          FROM (
                            SELECT
                              `t13`.`on`,
                              COUNT(DISTINCT `t13`.`hour`) AS `hours`
                            FROM (
                              SELECT
                                `t4`.`week`,
                                `t4`.`complex_id`,
                                `t4`.`hour`,
                                `t4`.`ridership`,
                                `t4`.`transfers`,
                                `t4`.`omny_ridership`,
                                `t4`.`omny_share`,
                                DATE(`t4`.`hour`) AS `on`
                              FROM `lake`.`complex_hourly_published` AS `t4`
                            ) AS `t13`
                            GROUP BY
                              1
                          ) AS `t17`
                          WHERE
                            `t17`.`hours` = IF(
                              (
                                EXTRACT(month FROM `t17`.`on`) = 3
                              )
                              AND (
                                EXTRACT(day FROM `t17`.`on`) >= 8
                              )
                              AND (
                                EXTRACT(day FROM `t17`.`on`) <= 14
                              )
                              AND (
                                (
                                  MOD(EXTRACT(dayofweek FROM `t17`.`on`) + 5, 7)
                                ) = 6
                              ),
                              23,
                              24
                            )
                        ) AS `t23`
                        WHERE
                          `t18`.`on` = `t23`.`complete`
                      )
                  ) AS `t25`
                    ON `t21`.`complex_id` = `t25`.`there` AND `t10`.`date` = `t25`.`on`
                ) AS `t26`
                GROUP BY
                  1,
                  2,
                  3
              ) AS `t28`
              LEFT OUTER JOIN (
                SELECT
                  `t1`.`complex_id` AS `own_complex`,
                  `t1`.`month` AS `own_month`,
                  `t1`.`ridership` AS `own_ridership`,
                  `t1`.`omny_ridership` AS `own_omny_ridership`,
                  `t1`.`share_low` AS `own_share_low`,
                  `t1`.`share_high` AS `own_share_high`
                FROM `lake`.`omny_share` AS `t1`
                WHERE
                  `t1`.`omny_ridership` < `t1`.`ridership` AND `t1`.`complex_id` IS NOT NULL
              ) AS `t14`
                ON `t28`.`complex_id` = `t14`.`own_complex` AND `t28`.`month` = `t14`.`own_month`
              LEFT OUTER JOIN (
                SELECT
                  `t1`.`month` AS `subway_month`,
                  `t1`.`ridership` AS `subway_ridership`,
                  `t1`.`omny_ridership` AS `subway_omny_ridership`,
                  `t1`.`share_low` AS `subway_share_low`,
                  `t1`.`share_high` AS `subway_share_high`
                FROM `lake`.`omny_share` AS `t1`
                WHERE
                  `t1`.`omny_ridership` < `t1`.`ridership` AND `t1`.`complex_id` IS NULL
              ) AS `t15`
                ON `t28`.`month` = `t15`.`subway_month`
            ) AS `t29`
          ) AS `t30`
        ) AS `t31`
        WHERE
          ieee_divide(`t31`.`entries` * `t31`.`riders`, `t31`.`riders` - `t31`.`taps`) IS NOT NULL
      ) AS `t32`
      GROUP BY
        1,
        2
    ) AS `t33`
  ) AS `t35`
  LEFT OUTER JOIN (
    SELECT
      `t0`.`complex_id` AS `known`,
      `t0`.`name` AS `station`,
      `t0`.`borough`,
      `t0`.`latitude`,
      `t0`.`longitude`
    FROM `warehouse`.`dim_station` AS `t0`
  ) AS `t7`
    ON `t35`.`complex_id` = `t7`.`known`
) AS `t36`
