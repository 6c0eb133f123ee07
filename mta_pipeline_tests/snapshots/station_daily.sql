SELECT
  `t13`.`complex_id`,
  COALESCE(`t13`.`station`, CONCAT('Complex ', CAST(`t13`.`complex_id` AS STRING))) AS `name`,
  `t13`.`borough`,
  `t13`.`latitude`,
  `t13`.`longitude`,
  `t13`.`service_date`,
  `t13`.`entries`,
  `t13`.`exits`,
  `t13`.`coverage`,
  `t13`.`is_whole_day`
FROM (
  SELECT
    `t12`.`complex_id`,
    `t12`.`service_date`,
    `t12`.`entries`,
    `t12`.`exits`,
    `t12`.`turnstile_seconds`,
    `t12`.`ok_seconds`,
    `t12`.`whole`,
    `t12`.`coverage`,
    `t12`.`is_whole_day`,
    `t5`.`known`,
    `t5`.`station`,
    `t5`.`borough`,
    `t5`.`latitude`,
    `t5`.`longitude`
  FROM (
    SELECT
      `t10`.`complex_id`,
      `t10`.`service_date`,
      `t10`.`entries`,
      `t10`.`exits`,
      `t10`.`turnstile_seconds`,
      `t10`.`ok_seconds`,
      `t10`.`whole`,
      ieee_divide(COALESCE(`t10`.`ok_seconds`, 0), NULLIF(`t10`.`turnstile_seconds`, 0)) AS `coverage`,
      `t10`.`whole` IS NOT NULL AS `is_whole_day`
    FROM (
      SELECT
        `t9`.`complex_id`,
        `t9`.`service_date`,
        `t9`.`entries`,
        `t9`.`exits`,
        `t9`.`turnstile_seconds`,
        `t9`.`ok_seconds`,
        `t7`.`whole`
      FROM (
        SELECT
          `t6`.`complex_id`,
          `t6`.`service_date`,
          IF(
            (
              SUM(`t6`.`ok_seconds`) = 0
            ) AND (
              SUM(`t6`.`entries`) = 0
            ),
            NULL,
            SUM(`t6`.`entries`)
          ) AS `entries`,
          IF(SUM(`t6`.`ok_seconds`) = 0, NULL, SUM(`t6`.`exits`)) AS `exits`,
          SUM(`t6`.`turnstile_seconds`) AS `turnstile_seconds`,
          SUM(`t6`.`ok_seconds`) AS `ok_seconds`
        FROM (
          SELECT
            *
          FROM `lake`.`complex_daily` AS `t1`
          WHERE
            `t1`.`complex_id` IS NOT NULL
        ) AS `t6`
        GROUP BY
          1,
          2
      ) AS `t9`
      LEFT OUTER JOIN (
        SELECT
          `t2`.`date` AS `whole`
        FROM `warehouse`.`dim_date` AS `t2`
        WHERE
          `t2`.`is_whole_day`
      ) AS `t7`
        ON `t9`.`service_date` = `t7`.`whole`
    ) AS `t10`
  ) AS `t12`
  LEFT OUTER JOIN (
    SELECT
      `t0`.`complex_id` AS `known`,
      `t0`.`name` AS `station`,
      `t0`.`borough`,
      `t0`.`latitude`,
      `t0`.`longitude`
    FROM `warehouse`.`dim_station` AS `t0`
  ) AS `t5`
    ON `t12`.`complex_id` = `t5`.`known`
) AS `t13`
