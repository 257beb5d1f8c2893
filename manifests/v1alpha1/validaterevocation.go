package v1alpha1

import "fmt"

// revocationList checks that each entry names what it covers: one that names nothing would revoke every credential.
func (c *checker) revocationList(s *RevocationListSpec) {
	for i := range s.Revocations {
		r := &s.Revocations[i]
		if r.TokenID == "" && r.Subject == "" && r.Client == "" && r.Issuer == "" {
			c.fail(fmt.Sprintf("spec.revocations[%d]", i), "required", "it names nothing that is revoked", "set tokenID, subject, client or issuer")
		}
	}
}
