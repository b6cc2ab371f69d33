"""BatchSchedules: a look of their own (observe, plan, carry out), their CronJobs, and the turns of their runs."""
