package main

import (
	"fmt"
	"log"
	"net/http"

	"github.com/coreos/go-systemd/activation"
)

func main() {
	listeners, err := activation.Listeners()
	if err != nil || len(listeners) != 1 {
		log.Fatalf("%d listeners: %v", len(listeners), err)
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "WORD") })
	log.Fatal(http.Serve(listeners[0], nil))
}
