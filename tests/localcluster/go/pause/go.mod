module batchjob.local/localcluster/pause

go 1.26.0
