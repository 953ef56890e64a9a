package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"
)

const (
	wait  = 60 * time.Second
	pause = time.Second
)

// instance is what an endpoint needs of a registration.
type instance struct {
	address string
	port    uint32
}

type consulClient struct {
	base string
	http *http.Client
}

func newConsulClient(base, caFile string) (*consulClient, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: 8192, ForceAttemptHTTP2: true}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("no certificate in %s", caFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return &consulClient{base: base, http: &http.Client{Transport: transport}}, nil
}

// query is one blocking query; the answer is decoded into value.
func (c *consulClient) query(ctx context.Context, path string, index uint64, value any) (uint64, error) {
	address := fmt.Sprintf("%s%s?index=%d&wait=%s", c.base, path, index, wait)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s answered %s", path, response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(value); err != nil {
		return 0, err
	}
	next, err := strconv.ParseUint(response.Header.Get("X-Consul-Index"), 10, 64)
	if err != nil || next < index {
		return 0, nil
	}
	return next, nil
}

// catalog holds the instances of every service; one goroutine for each service keeps it current.
type catalog struct {
	client   *consulClient
	complete chan struct{}
	changed  chan string

	mu       sync.Mutex
	services map[string][]instance
	watched  map[string]context.CancelFunc
	awaited  map[string]bool
}

func newCatalog(client *consulClient) *catalog {
	return &catalog{
		client:   client,
		complete: make(chan struct{}),
		changed:  make(chan string, 4096),
		services: map[string][]instance{},
		watched:  map[string]context.CancelFunc{},
	}
}

// follow watches the listing and starts and ends the services' goroutines.
func (c *catalog) follow(ctx context.Context) {
	var index uint64
	for ctx.Err() == nil {
		var listing map[string][]string
		next, err := c.client.query(ctx, "/v1/catalog/services", index, &listing)
		if err != nil {
			log.Printf("cannot list services: %v", err)
			sleep(ctx, pause)
			continue
		}
		index = next
		c.accept(ctx, listing)
	}
}

func (c *catalog) accept(ctx context.Context, listing map[string][]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(listing, "consul")
	if c.awaited == nil {
		c.awaited = map[string]bool{}
		for name := range listing {
			c.awaited[name] = true
		}
	}
	for name := range listing {
		if c.watched[name] == nil {
			watchCtx, cancel := context.WithCancel(ctx)
			c.watched[name] = cancel
			go c.watch(watchCtx, name)
		}
	}
	for name, cancel := range c.watched {
		if _, listed := listing[name]; !listed {
			cancel()
			delete(c.watched, name)
		}
	}
}

func (c *catalog) watch(ctx context.Context, name string) {
	var index uint64
	for ctx.Err() == nil {
		var entries []struct {
			Node    struct{ Address string }
			Service struct {
				Address string
				Port    uint32
			}
		}
		next, err := c.client.query(ctx, "/v1/health/service/"+url.PathEscape(name), index, &entries)
		if err != nil {
			log.Printf("cannot read service %s: %v", name, err)
			sleep(ctx, pause)
			continue
		}
		index = next
		instances := make([]instance, 0, len(entries))
		for _, entry := range entries {
			address := entry.Service.Address
			if address == "" {
				address = entry.Node.Address
			}
			instances = append(instances, instance{address, entry.Service.Port})
		}
		sort.Slice(instances, func(i, j int) bool {
			a, b := instances[i], instances[j]
			return a.address < b.address || a.address == b.address && a.port < b.port
		})
		c.put(ctx, name, instances)
	}
}

func (c *catalog) put(ctx context.Context, name string, instances []instance) {
	c.mu.Lock()
	before, known := c.services[name]
	c.services[name] = instances
	if len(c.awaited) > 0 {
		delete(c.awaited, name)
		if len(c.awaited) == 0 {
			close(c.complete)
		}
	}
	c.mu.Unlock()
	if known && equal(before, instances) {
		return
	}
	select {
	case c.changed <- name:
	case <-ctx.Done():
	}
}

func (c *catalog) names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := make([]string, 0, len(c.services))
	for name := range c.services {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func (c *catalog) instances(name string) []instance {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.services[name]
}

func equal(a, b []instance) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
