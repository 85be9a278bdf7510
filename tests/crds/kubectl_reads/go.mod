module kubectl_reads

go 1.24

require k8s.io/apimachinery v0.36.3
