package jwks

import "strings"

// placeholder stands for the tenant in the issuer of a key that all tenants share.
const placeholder = "{tenantid}"

// For tells whether the key may verify tokens of iss. A key that names an issuer is for that one alone: in a set that several share, one
// tenant's key must not speak for another. Where the name has the variable {tenantid}, what iss has in its place must be tenant, or,
// without a tenant, one segment of a path.
func (k *Key) For(iss, tenant string) bool { return k.Issuer == "" || covers(k.Issuer, iss, tenant) }

func covers(named, iss, tenant string) bool {
	if named == iss {
		return true
	}
	before, after, ok := strings.Cut(named, placeholder)
	if !ok || len(iss) <= len(before)+len(after) || !strings.HasPrefix(iss, before) || !strings.HasSuffix(iss, after) {
		return false
	}
	said := iss[len(before) : len(iss)-len(after)]
	if tenant != "" {
		return said == tenant
	}
	return !strings.ContainsAny(said, "/?#{}")
}
