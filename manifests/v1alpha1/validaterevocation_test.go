package v1alpha1_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/credence-mesh/credence/manifests/v1alpha1"
)

func TestRevocationNamesWhatItCovers(t *testing.T) {
	bare := v1alpha1.Revocation{IssuedBefore: &metav1.Time{}, Reason: "all"}
	for name, tt := range map[string]struct {
		r    v1alpha1.Revocation
		want int
	}{
		"nothing": {v1alpha1.Revocation{}, 1},
		"a time":  {bare, 2},
		"no time": {v1alpha1.Revocation{TokenID: "t", IssuedBefore: &metav1.Time{}}, 1},
		"the year 10000": {v1alpha1.Revocation{TokenID: "t", IssuedBefore: &metav1.Time{
			Time: time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -3600)),
		}}, 1},
		"the year 9999": {v1alpha1.Revocation{TokenID: "t", IssuedBefore: &metav1.Time{Time: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}}, 0},
		"a jti":         {v1alpha1.Revocation{TokenID: "t"}, 0},
		"an iss":        {v1alpha1.Revocation{Issuer: "https://a.test"}, 0},
	} {
		list := &v1alpha1.RevocationList{Spec: v1alpha1.RevocationListSpec{Revocations: []v1alpha1.Revocation{tt.r}}}
		if got := v1alpha1.Validate(list); len(got) != tt.want {
			t.Errorf("%s: %v, want %d findings", name, got, tt.want)
		}
	}
}
