package main

import (
	"context"
	"log"
	"strconv"
	"strings"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
)

// node is a connected Envoy and what its snapshot is made of.
type node struct {
	streams   int
	services  []string
	structure map[resource.Type][]types.Resource
}

// nodes makes a snapshot for each connected Envoy, and a new one when a service it depends on changed.
type nodes struct {
	server.CallbackFuncs
	snapshots cache.SnapshotCache
	catalog   *catalog

	mu          sync.Mutex
	version     uint64
	byID        map[string]*node
	byStream    map[int64]string
	assignments map[string]types.Resource
}

func newNodes(snapshots cache.SnapshotCache, catalog *catalog) *nodes {
	n := &nodes{
		snapshots:   snapshots,
		catalog:     catalog,
		byID:        map[string]*node{},
		byStream:    map[int64]string{},
		assignments: map[string]types.Resource{},
	}
	n.StreamDeltaRequestFunc = func(stream int64, request *discovery.DeltaDiscoveryRequest) error {
		return n.enter(stream, request.GetNode())
	}
	n.StreamRequestFunc = func(stream int64, request *discovery.DiscoveryRequest) error {
		return n.enter(stream, request.GetNode())
	}
	n.DeltaStreamClosedFunc = func(stream int64, _ *core.Node) { n.leave(stream) }
	n.StreamClosedFunc = func(stream int64, _ *core.Node) { n.leave(stream) }
	return n
}

// enter makes the first snapshot of an Envoy.
func (n *nodes) enter(stream int64, identity *core.Node) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.byStream[stream] != "" || identity.GetId() == "" {
		return nil
	}
	n.byStream[stream] = identity.GetId()
	if known := n.byID[identity.GetId()]; known != nil {
		known.streams++
		return nil
	}
	services := n.upstreams(identity)
	entered := &node{streams: 1, services: services, structure: structure(services)}
	n.byID[identity.GetId()] = entered
	return n.publish(identity.GetId(), entered)
}

// upstreams is what `node.metadata.mesh.upstreams` names, or everything.
func (n *nodes) upstreams(identity *core.Node) []string {
	mesh := identity.GetMetadata().GetFields()["mesh"].GetStructValue()
	written := mesh.GetFields()["upstreams"].GetStringValue()
	if written == "" {
		return n.catalog.names()
	}
	var services []string
	for _, name := range strings.Split(written, ",") {
		services = append(services, strings.TrimSpace(name))
	}
	return services
}

func (n *nodes) leave(stream int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	id := n.byStream[stream]
	delete(n.byStream, stream)
	left := n.byID[id]
	if left == nil {
		return
	}
	left.streams--
	if left.streams == 0 {
		delete(n.byID, id)
		n.snapshots.ClearSnapshot(id)
	}
}

// follow gathers changes for the debounce time, then renews every snapshot that they concern.
func (n *nodes) follow(ctx context.Context, debounce time.Duration) {
	for {
		changed := map[string]bool{}
		select {
		case name := <-n.catalog.changed:
			changed[name] = true
		case <-ctx.Done():
			return
		}
		sleep(ctx, debounce)
		for more := true; more; {
			select {
			case name := <-n.catalog.changed:
				changed[name] = true
			default:
				more = false
			}
		}
		n.renew(changed)
	}
}

func (n *nodes) renew(changed map[string]bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name := range changed {
		delete(n.assignments, name)
	}
	for id, concerned := range n.byID {
		for _, name := range concerned.services {
			if changed[name] {
				if err := n.publish(id, concerned); err != nil {
					log.Printf("cannot renew the snapshot of %s: %v", id, err)
				}
				break
			}
		}
	}
}

// publish hands the cache a snapshot of what a node needs now; the caller holds the lock.
func (n *nodes) publish(id string, of *node) error {
	assignments := make([]types.Resource, 0, len(of.services))
	for _, name := range of.services {
		known := n.assignments[name]
		if known == nil {
			known = assignment(name, n.catalog.instances(name))
			n.assignments[name] = known
		}
		assignments = append(assignments, known)
	}
	n.version++
	snapshot, err := cache.NewSnapshot(strconv.FormatUint(n.version, 10), map[resource.Type][]types.Resource{
		resource.ClusterType:  of.structure[resource.ClusterType],
		resource.EndpointType: assignments,
		resource.ListenerType: of.structure[resource.ListenerType],
		resource.RouteType:    of.structure[resource.RouteType],
	})
	if err != nil {
		return err
	}
	return n.snapshots.SetSnapshot(context.Background(), id, snapshot)
}
