package ads

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/anypb"
)

// Type URLs that a View can hold.
const (
	SecretType   = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	ClusterType  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	EndpointType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	ListenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"
	RouteType    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
)

// Types are the type URLs that a View can hold, in the order in which a change is sent.
func Types() []string {
	return []string{SecretType, ClusterType, EndpointType, ListenerType, RouteType}
}

// ErrInvalidView is the class of every error of NewView.
var ErrInvalidView = errors.New("invalid view")

// Resource is one xDS resource, marshalled once and shared by all views that hold it. Nobody changes it after NewView.
type Resource struct {
	Name    string
	TypeURL string
	// Version is a hash of the content: equal versions of one name mean equal bodies.
	Version string
	Body    *anypb.Any
}

// View is all that one proxy is configured with. It is immutable and safe for concurrent use. The nil View holds nothing.
type View struct {
	sets map[string]*set
}

// set holds the resources of one type, sorted by name.
type set struct {
	version   string
	resources []Resource
}

// NewView takes resources of any of Types in any order. Each needs a name that is unique within its type, a version, and a body of
// its own type; otherwise the error wraps ErrInvalidView and names the resource.
func NewView(resources []Resource) (*View, error) {
	v := &View{sets: map[string]*set{}}
	for _, url := range Types() {
		v.sets[url] = &set{}
	}
	for i := range resources {
		r := resources[i]
		s, ok := v.sets[r.TypeURL]
		switch {
		case !ok:
			return nil, fmt.Errorf("%w: resource %q has the unknown type %q", ErrInvalidView, r.Name, r.TypeURL)
		case r.Name == "" || r.Name == wildcard:
			return nil, fmt.Errorf("%w: a resource of type %s is named %q", ErrInvalidView, r.TypeURL, r.Name)
		case r.Version == "":
			return nil, fmt.Errorf("%w: resource %q has no version", ErrInvalidView, r.Name)
		case r.Body.GetTypeUrl() != r.TypeURL:
			return nil, fmt.Errorf("%w: resource %q of type %s has a body of type %q", ErrInvalidView, r.Name, r.TypeURL, r.Body.GetTypeUrl())
		}
		s.resources = append(s.resources, r)
	}
	for url, s := range v.sets {
		slices.SortFunc(s.resources, func(a, b Resource) int { return cmp.Compare(a.Name, b.Name) })
		for i := 1; i < len(s.resources); i++ {
			if s.resources[i].Name == s.resources[i-1].Name {
				return nil, fmt.Errorf("%w: two resources of type %s are named %q", ErrInvalidView, url, s.resources[i].Name)
			}
		}
		s.version = contentVersion(s.all())
	}
	return v, nil
}

// Version is a hash of all resources of a type: equal versions mean equal content.
func (v *View) Version(typeURL string) string { return v.set(typeURL).version }

// Len is the number of resources of a type.
func (v *View) Len(typeURL string) int { return len(v.set(typeURL).resources) }

func (v *View) set(typeURL string) *set {
	if v != nil {
		if s, ok := v.sets[typeURL]; ok {
			return s
		}
	}
	return &set{}
}

func (s *set) all() []*Resource {
	all := make([]*Resource, len(s.resources))
	for i := range s.resources {
		all[i] = &s.resources[i]
	}
	return all
}

// get is nil when the set has no such resource.
func (s *set) get(name string) *Resource {
	i, ok := slices.BinarySearchFunc(s.resources, name, func(r Resource, name string) int { return strings.Compare(r.Name, name) })
	if !ok {
		return nil
	}
	return &s.resources[i]
}

// contentVersion hashes resources that are sorted by name. Lengths go in too: no two lists share an encoding.
func contentVersion(sorted []*Resource) string {
	h := sha256.New()
	for _, r := range sorted {
		// A hash never fails to write.
		_, _ = fmt.Fprintf(h, "%d:%d:", len(r.Name), len(r.Version))
		_, _ = io.WriteString(h, r.Name)
		_, _ = io.WriteString(h, r.Version)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
