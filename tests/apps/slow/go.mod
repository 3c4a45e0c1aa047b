module slow

go 1.19
