// Command baseline is the plain control plane that Ayatori's is measured against: Consul's services by blocking
// queries, one go-control-plane snapshot for each Envoy, delta and state-of-the-world ADS.
//
// It is written as its library suggests and no faster: whenever an instance changes, every node that depends on the
// service gets a new snapshot, and SnapshotCache finds what differs. It reads the same node metadata as Ayatori
// (`mesh.upstreams`) and answers all four types, so that one load generator drives both.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:18000", "address of the xDS port")
	consul := flag.String("consul", "http://127.0.0.1:8500", "URL of Consul")
	caFile := flag.String("ca-file", "", "PEM file of who signs Consul's certificate")
	debounce := flag.Duration("debounce", 0, "how long changes are gathered before snapshots are made")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, err := newConsulClient(*consul, *caFile)
	if err != nil {
		log.Fatalf("cannot reach Consul at %s: %v", *consul, err)
	}
	catalog := newCatalog(client)
	go catalog.follow(ctx)
	select {
	case <-catalog.complete:
	case <-ctx.Done():
		return
	}

	snapshots := cache.NewSnapshotCache(true, cache.IDHash{}, nil)
	nodes := newNodes(snapshots, catalog)
	go nodes.follow(ctx, *debounce)

	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatalf("cannot listen on %s: choose another port with -listen: %v", *listen, err)
	}
	grpcServer := grpc.NewServer(
		grpc.MaxConcurrentStreams(100),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}),
	)
	discovery.RegisterAggregatedDiscoveryServiceServer(grpcServer, server.NewServer(ctx, snapshots, nodes))
	go func() {
		<-ctx.Done()
		grpcServer.Stop()
	}()
	log.Printf("serving xDS on %s", listener.Addr())
	if err := grpcServer.Serve(listener); err != nil {
		log.Fatalf("the xDS server failed: %v", err)
	}
}
