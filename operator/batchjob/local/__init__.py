"""A run without a cluster: `batchjob run` plays the operator's half on this machine, with the same store and workers.

Workers are processes of `batchjob worker`, told what a pod is told and in the same files. So a processor behaves as
it will in a cluster, and nothing that it does (block, crash, fill the memory) can take the run or its results along.
"""
