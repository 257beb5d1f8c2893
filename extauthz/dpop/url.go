package dpop

import "strings"

// sameURL compares htu with the request after the normalisation of RFC 3986 §6.2.2 and §6.2.3. Query and fragment do not count.
func sameURL(htu string, r *Request) bool {
	scheme, rest, ok := strings.Cut(htu, "://")
	if !ok {
		return false
	}
	scheme = strings.ToLower(scheme)
	if scheme != "http" && scheme != "https" || scheme != strings.ToLower(r.Scheme) && !r.AnyScheme {
		return false
	}
	if end := strings.IndexAny(rest, "?#"); end >= 0 {
		rest = rest[:end]
	}
	host, path := rest, ""
	if slash := strings.IndexByte(rest, '/'); slash >= 0 {
		host, path = rest[:slash], rest[slash:]
	}
	asked, _, _ := strings.Cut(r.Path, "?")
	return host != "" && !strings.Contains(host, "@") && authority(host, scheme) == authority(r.Host, scheme) && normal(path) == normal(asked)
}

// authority is lower case and without the port that the scheme has anyway.
func authority(host, scheme string) string {
	host = strings.ToLower(host)
	standard := ":80"
	if scheme == "https" {
		standard = ":443"
	}
	host = strings.TrimSuffix(host, standard)
	return strings.TrimSuffix(host, ":")
}

// normal path: unreserved characters as they are, other escapes in upper case, dot segments resolved.
func normal(path string) string {
	if path == "" {
		return "/"
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] != '%' || i+2 >= len(path) || hex(path[i+1]) < 0 || hex(path[i+2]) < 0 {
			b.WriteByte(path[i])
			continue
		}
		if c := byte(hex(path[i+1])<<4 | hex(path[i+2])); unreserved(c) { //nolint:gosec // two digits
			b.WriteByte(c)
		} else {
			b.WriteString(strings.ToUpper(path[i : i+3]))
		}
		i += 2
	}
	parts := strings.Split(b.String(), "/")
	var out []string
	for i, p := range parts {
		last := i == len(parts)-1
		switch p {
		case ".", "..":
			if p == ".." && len(out) > 1 {
				out = out[:len(out)-1]
			}
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, p)
		}
	}
	return strings.Join(out, "/")
}

func hex(c byte) int {
	if c < '0' {
		return -1
	}
	return strings.IndexByte("0123456789abcdef", c|0x20)
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}
