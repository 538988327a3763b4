"""Spark as a process that answers: a JSON object a line on standard input says what is asked, a line on standard output that it is answered.

Runs in Spark's own Python environment. `{"path", "version", "to"}` writes a Delta table's rows to a Parquet file, `{"path", "version", "sql"}`
answers a question of the table `t` by its first row, as texts.
"""
import json
import os
import sys

from pyspark.sql import SparkSession


def session(folder):
    settings = {
        "spark.driver.extraClassPath": f"{os.environ['SPARK_FOLDER']}/delta/*", "spark.driver.memory": "1g", "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false", "spark.sql.shuffle.partitions": "2", "spark.sql.session.timeZone": "UTC",
        "spark.local.dir": folder, "spark.sql.warehouse.dir": f"{folder}/warehouse",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        # How it writes its answers; how it reads is left to its defaults.
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS", "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    }
    builder = SparkSession.builder.master("local[2]").appName("lakehead")
    for name, value in settings.items():
        builder = builder.config(name, value)
    found = builder.getOrCreate()
    found.sparkContext.setLogLevel("ERROR")
    return found


def main():
    # What Spark prints is not an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    spark = session(sys.argv[1])
    for line in sys.stdin:
        asked = json.loads(line)
        reader = spark.read.format("delta")
        if asked.get("version") is not None:
            reader = reader.option("versionAsOf", asked["version"])
        table, answer = reader.load(asked["path"]), {}
        if to := asked.get("to"):
            table.coalesce(1).write.parquet(to)
        else:
            table.createOrReplaceTempView("t")
            answer["row"] = [None if value is None else str(value) for value in spark.sql(asked["sql"]).first()]
        print(json.dumps(answer), file=answers, flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
