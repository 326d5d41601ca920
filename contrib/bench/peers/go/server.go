// net/http of the standard library, which has no WebSockets. The routes are matched by
// hand: patterns with params came to ServeMux with Go 1.22.
package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
)

type person struct {
	ID    int     `json:"id"`
	Name  string  `json:"name"`
	Admin bool    `json:"admin"`
	Score float64 `json:"score"`
	Team  string  `json:"team"`
}

var page = []byte(strings.Repeat("0123456789abcde\n", 4096))
var upstream = "http://" + os.Getenv("UPSTREAM") + "/hello"
var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}

func answer(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

func answerJSON(w http.ResponseWriter, r *http.Request) {
	body, _ := json.Marshal(person{42, "Ann Example", false, 17.25, "red"})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

func user(w http.ResponseWriter, r *http.Request) {
	language := r.Header.Get("Accept-Language")
	if language == "" {
		language = "-"
	}
	answer(w, []byte(strings.TrimPrefix(r.URL.Path, "/users/")+" "+language+"\n"))
}

func post(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	answer(w, body)
}

func ask(w http.ResponseWriter, r *http.Request) {
	got, err := client.Get(upstream)
	if err != nil {
		http.Error(w, err.Error(), 502)
		return
	}
	defer got.Body.Close()
	body, _ := io.ReadAll(got.Body)
	answer(w, body)
}

func burn(w http.ResponseWriter, r *http.Request) {
	n, _ := strconv.Atoi(r.URL.Query().Get("n"))
	x := int64(1)
	for i := 0; i < n; i++ {
		x = (x*421 + 1663) % 7875
	}
	answer(w, []byte(strconv.FormatInt(x, 10)+"\n"))
}

func main() {
	mux := http.NewServeMux()
	hello, text := []byte("Hello, world\n"), answer
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { text(w, hello) })
	mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) { text(w, page) })
	mux.HandleFunc("/json", answerJSON)
	mux.HandleFunc("/users/", user)
	mux.HandleFunc("/post", post)
	mux.HandleFunc("/upstream", ask)
	mux.HandleFunc("/burn", burn)
	files := http.FileServer(http.Dir(os.Getenv("FILES")))
	mux.Handle("/files/", http.StripPrefix("/files/", files))
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		panic(err)
	}
	panic(http.Serve(listener, mux))
}
