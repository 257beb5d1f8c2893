package decode

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	kjson "sigs.k8s.io/json"

	"github.com/credence-mesh/credence/manifests"
	"github.com/credence-mesh/credence/manifests/v1alpha1"
)

// ErrNotCanonical is of bytes that no File of this version has made: damaged, of another key, or not valid any more.
var ErrNotCanonical = errors.New("not the canonical form of a valid object")

// FromCanonical makes an object of the canonical JSON that File gave it. The object is checked as a new one is. Its Fields are
// empty; pos is where it once stood. Errors wrap ErrNotCanonical.
func FromCanonical(key manifests.Key, canonicalJSON []byte, pos manifests.Position) (*manifests.Object, error) {
	spec := findKind(key.Group, key.Kind)
	if spec == nil {
		return nil, fmt.Errorf("%w: %s: kind not known", ErrNotCanonical, key)
	}
	v, err := restore(spec, canonicalJSON)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNotCanonical, key, err)
	}
	if m, ok := v.(metav1.Object); !ok || m.GetName() != key.Name || m.GetNamespace() != key.Namespace {
		return nil, fmt.Errorf("%w: %s: it has another name", ErrNotCanonical, key)
	}
	if t := typeMeta(v); t == nil || t.Kind != spec.kind || t.APIVersion != spec.group+"/"+spec.versions[0] {
		return nil, fmt.Errorf("%w: %s: it is of another kind", ErrNotCanonical, key)
	}
	for _, fe := range validate(v) {
		if !fe.Warning {
			return nil, fmt.Errorf("%w: %s: %s: %s", ErrNotCanonical, key, fe.Path, fe.Message)
		}
	}
	again, err := canonical(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNotCanonical, key, err)
	}
	if !bytes.Equal(again, canonicalJSON) {
		return nil, fmt.Errorf("%w: %s: its encoding differs", ErrNotCanonical, key)
	}
	return &manifests.Object{Key: key, Pos: pos, Value: v, Canonical: again, Fields: map[string]manifests.Position{}}, nil
}

func restore(spec *kindSpec, data []byte) (any, error) {
	v := spec.empty()
	strict, err := kjson.UnmarshalStrict(data, v)
	if err := errors.Join(append(strict, err)...); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return v, nil
}

func fieldsRoot(v any) reflect.Type { return reflect.TypeOf(v).Elem() }

// typeMeta is the kind of an object as its type has it; nil: v is no object.
func typeMeta(v any) *metav1.TypeMeta {
	o, ok := v.(interface{ GetObjectKind() schema.ObjectKind })
	if !ok {
		return nil
	}
	t, _ := o.GetObjectKind().(*metav1.TypeMeta)
	return t
}

// absolute makes the relative paths of an object absolute. They are kept as they are where dir itself is not absolute.
func absolute(v any, dir string) {
	fix := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	switch v := v.(type) {
	case *v1alpha1.Workload:
		if u := v.Spec.Selectors.Unix; u != nil {
			fix(&u.Path)
		}
	case *v1alpha1.Certificate:
		if f := v.Spec.Files; f != nil {
			fix(&f.Certificate)
			fix(&f.Key)
		}
	case *v1alpha1.GatewaySettings:
		if cc := v.Spec.ClientCertificates; cc != nil {
			fix(&cc.CAFile)
		}
	case *v1alpha1.Credentials:
		if b := v.Spec.Basic; b != nil && b.Htpasswd != nil {
			fix(&b.Htpasswd.File)
		}
		if cc := v.Spec.ClientCertificates; cc != nil {
			fix(&cc.CAFile)
		}
	case *v1alpha1.TokenIssuer:
		if k := v.Spec.Keys; k != nil {
			fix(&k.File)
			fix(&k.CAFile)
			fix(&k.BearerTokenFile)
		}
		if in := v.Spec.Introspection; in != nil {
			fix(&in.ClientSecretFile)
			fix(&in.BearerTokenFile)
			fix(&in.CAFile)
		}
	}
}

func setDefaults(v any) {
	switch v := v.(type) {
	case *gatewayv1.Gateway:
		defaultGateway(v)
	case *gatewayv1.HTTPRoute:
		defaultRoute(v)
	case *gatewayv1.GRPCRoute:
		defaultGRPCRoute(v)
	default:
		v1alpha1.SetDefaults(v)
	}
}

func validate(v any) []v1alpha1.FieldError {
	switch v := v.(type) {
	case *gatewayv1.Gateway:
		return validateGateway(v)
	case *gatewayv1.HTTPRoute:
		return validateRoute(v)
	case *gatewayv1.GRPCRoute:
		return validateGRPCRoute(v)
	case *gatewayv1.ReferenceGrant:
		return validateGrant(v)
	}
	return v1alpha1.Validate(v)
}
