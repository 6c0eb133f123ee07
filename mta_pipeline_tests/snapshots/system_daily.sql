SELECT
  `t13`.`service_date`,
  `t13`.`division`,
  `t13`.`borough`,
  `t13`.`entries`,
  `t13`.`exits`,
  `t13`.`turnstile_seconds`,
  `t13`.`ok_seconds`,
  ieee_divide(COALESCE(`t13`.`ok_seconds`, 0), NULLIF(`t13`.`turnstile_seconds`, 0)) AS `coverage`,
  `t13`.`whole` IS NOT NULL AS `is_whole_day`
FROM (
  SELECT
    `t12`.`service_date`,
    `t12`.`division`,
    `t12`.`borough`,
    `t12`.`entries`,
    `t12`.`exits`,
    `t12`.`turnstile_seconds`,
    `t12`.`ok_seconds`,
    `t5`.`whole`
  FROM (
    SELECT
      `t10`.`service_date`,
      `t10`.`division`,
      `t10`.`borough`,
      SUM(`t10`.`entries`) AS `entries`,
      SUM(`t10`.`exits`) AS `exits`,
      SUM(`t10`.`turnstile_seconds`) AS `turnstile_seconds`,
      COALESCE(SUM(`t10`.`ok_seconds`), 0) AS `ok_seconds`
    FROM (
      SELECT
        `t9`.`service_date`,
        `t9`.`division`,
        `t9`.`complex_id`,
        `t9`.`entries`,
        `t9`.`exits`,
        `t9`.`turnstile_seconds`,
        `t9`.`ok_seconds`,
        `t7`.`borough`,
        `t7`.`known`
      FROM (
        SELECT
          `t6`.`service_date`,
          `t6`.`division`,
          `t6`.`complex_id`,
          SUM(IF(`t6`.`entries_status` = 'ok', `t6`.`entries`, NULL)) AS `entries`,
          SUM(IF(`t6`.`exits_status` = 'ok', `t6`.`exits`, NULL)) AS `exits`,
          SUM(`t6`.`seconds`) AS `turnstile_seconds`,
          SUM(IF(`t6`.`exits_status` = 'ok', `t6`.`seconds`, NULL)) AS `ok_seconds`
        FROM (
          SELECT
            *
          FROM `warehouse`.`fact_turnstile` AS `t1`
          WHERE
            `t1`.`is_subway` AND `t1`.`started_at` IS NOT NULL
        ) AS `t6`
        GROUP BY
          1,
          2,
          3
      ) AS `t9`
      LEFT OUTER JOIN (
        SELECT
          `t2`.`borough`,
          `t2`.`complex_id` AS `known`
        FROM `warehouse`.`dim_station` AS `t2`
      ) AS `t7`
        ON `t9`.`complex_id` = `t7`.`known`
    ) AS `t10`
    GROUP BY
      1,
      2,
      3
  ) AS `t12`
  LEFT OUTER JOIN (
    SELECT
      `t0`.`date` AS `whole`
    FROM `warehouse`.`dim_date` AS `t0`
    WHERE
      `t0`.`is_whole_day`
  ) AS `t5`
    ON `t12`.`service_date` = `t5`.`whole`
) AS `t13`
