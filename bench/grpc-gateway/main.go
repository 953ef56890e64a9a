// Command grpc-gateway is the converter that Ayatori's is measured against: grpc-gateway with generated code for
// bench/proto/echo/v1/echo.proto, as its documentation suggests, with its default marshaler.
//
// It speaks HTTP/1.1 and HTTP/2 without TLS, so that an Envoy reaches it as it reaches Ayatori's application.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"ayatori/bench/grpc-gateway/echo"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:18020", "address of the HTTP port")
	service := flag.String("service", "127.0.0.1:18021", "address of the gRPC service, or of the Envoy before it")
	authority := flag.String("authority", "echo", "authority of calls")
	flag.Parse()

	connection, err := grpc.NewClient(*service,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(*authority))
	if err != nil {
		log.Fatalf("cannot make a client for %s: %v", *service, err)
	}
	mux := runtime.NewServeMux()
	if err := echo.RegisterEchoHandler(context.Background(), mux, connection); err != nil {
		log.Fatalf("cannot register the service: %v", err)
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatalf("cannot listen on %s: choose another port with -listen: %v", *listen, err)
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: mux, Protocols: &protocols}
	if err := server.Serve(listener); err != nil {
		log.Fatalf("the server failed: %v", err)
	}
}
