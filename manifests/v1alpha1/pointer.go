package v1alpha1

import (
	"errors"
	"fmt"
	"strings"
)

// Segments is the path of the claim, from Path or Pointer. It errs where the pointer is none (RFC 6901 §3), or names the whole document.
func (r *ClaimRequirement) Segments() ([]string, error) {
	if r.Pointer == "" {
		return append([]string{}, r.Path...), nil
	}
	rest, ok := strings.CutPrefix(r.Pointer, "/")
	if !ok {
		return nil, fmt.Errorf("%q is not a JSON pointer: it does not begin with a slash", r.Pointer)
	}
	out := strings.Split(rest, "/")
	for i, s := range out {
		plain := strings.NewReplacer("~0", "", "~1", "").Replace(s)
		if strings.Contains(plain, "~") {
			return nil, fmt.Errorf("%q is not a JSON pointer: a tilde is written ~0, a slash ~1", r.Pointer)
		}
		if s == "" {
			return nil, errors.New("a JSON pointer with an empty segment names no claim")
		}
		// One pass: "~01" is "~1", not a slash (RFC 6901 §4).
		out[i] = strings.NewReplacer("~0", "~", "~1", "/").Replace(s)
	}
	return out, nil
}

func (c *checker) claim(at string, r *ClaimRequirement) {
	switch {
	case len(r.Path) > 0 && r.Pointer != "":
		c.fail(at+".pointer", "one-of", "path and pointer exclude each other", "keep one of them")
	case r.Pointer != "":
		c.pointer(at+".pointer", r)
	case len(r.Path) == 0:
		c.fail(at+".path", "required", "the path of a claim is required", "for example [realm_access, roles]")
	}
	for i, segment := range r.Path {
		if c.required(index(at+".path", i), segment) {
			c.dotted(index(at+".path", i), r.Path, segment)
		}
	}
	if len(r.AnyOf) == 0 {
		c.fail(at+".anyOf", "required", "at least one value is needed", "")
	}
}

func (c *checker) pointer(at string, r *ClaimRequirement) {
	if _, err := r.Segments(); err != nil {
		hint := "for example /realm_access/roles (RFC 6901)"
		if !strings.Contains(r.Pointer, "/") {
			hint = "write " + pointerOf(strings.Split(r.Pointer, "."))
		}
		c.fail(at, "invalid-pointer", err.Error(), hint)
	}
}

// dotted tells of a path that was split by nobody. A claim's own name may hold dots (a URL, kubernetes.io), so it is no error by itself.
func (c *checker) dotted(at string, path []string, segment string) {
	for _, parent := range []string{"realm_access.", "resource_access.", "kubernetes.io.", "firebase."} {
		if len(path) == 1 && strings.HasPrefix(segment, parent) {
			name := strings.TrimSuffix(parent, ".")
			c.fail(at, "invalid-pointer", fmt.Sprintf("%q is taken for the name of one claim: paths are not split on dots", segment),
				"write pointer: "+pointerOf(append([]string{name}, strings.Split(strings.TrimPrefix(segment, parent), ".")...)))
		}
	}
}

// ListHint says what to write where field (its path without indices) wants a list and text stands there; "": nothing in particular.
func ListHint(field, text string) string {
	if !strings.HasSuffix(field, ".claims.path") && !strings.HasSuffix(field, ".serviceMarkers.path") {
		return ""
	}
	return "write the segments as a list, or pointer: " + pointerOf(strings.Split(text, "."))
}

func pointerOf(segments []string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(s))
	}
	return b.String()
}
