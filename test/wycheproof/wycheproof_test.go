package wycheproof_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"

	"github.com/credence-mesh/credence/extauthz/jwks"
	"github.com/credence-mesh/credence/extauthz/token"
)

// algorithms are all that an issuer can be configured with.
var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}

// vectors is the part of a file that is read.
type vectors struct {
	TestGroups []struct {
		Comment string
		Private json.RawMessage
		Public  json.RawMessage
		Tests   []vector
	}
}

type vector struct {
	ID      int `json:"tcId"`
	Comment string
	JWS     string
	Result  string
	Flags   []string
}

func read(t *testing.T, file string) vectors {
	t.Helper()
	data, err := fs.ReadFile(wycheproof.TestVectors, file)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// verify checks a vector with the keys of its group, which is a JWK or a JWK Set.
func verify(t *testing.T, key json.RawMessage, jws string) error {
	t.Helper()
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(key, &set); err != nil {
		t.Fatal(err)
	}
	if set.Keys == nil {
		key = fmt.Appendf(nil, `{"keys":[%s]}`, key)
	}
	keys, err := jwks.Parse(key, algorithms)
	if err != nil {
		return err
	}
	_, err = token.VerifySignature(jws, keys, algorithms)
	return err
}

// quirks are the vectors that we answer otherwise than the file says, or that say nothing, by number.
var quirks = map[string]map[int]string{
	"json_web_signature_test.json": {
		346: "the key says PS256, the token PS384 (RFC 7520 figure 20): a key has one algorithm",
		350: "the key says PS256, the token PS384 (RFC 7520 figure 20): a key has one algorithm",
		347: "there is no algorithm ES521",
		351: "there is no algorithm ES521",
	},
}

func TestVectors(t *testing.T) {
	for _, file := range []string{"json_web_signature_test.json", "json_web_key_test.json"} {
		ran, valid := 0, 0
		for _, group := range read(t, file).TestGroups {
			for _, v := range group.Tests {
				name := fmt.Sprintf("%s/%d", file, v.ID)
				key, symmetric := group.Public, group.Public == nil
				if symmetric {
					key = group.Private
				}
				err := verify(t, key, v.JWS)
				// A secret is never a key of an issuer.
				want := v.Result == "valid" && !symmetric
				if reason, ok := quirks[file][v.ID]; ok {
					if (err == nil) == want {
						t.Errorf("%s: is no quirk any more: %s", name, reason)
					}
					continue
				}
				ran++
				if want {
					valid++
				}
				if want && err != nil {
					t.Errorf("%s %s (%s): refused: %v", name, group.Comment, v.Comment, err)
				}
				if !want && err == nil {
					t.Errorf("%s %s (%s): accepted", name, group.Comment, v.Comment)
				}
			}
		}
		if ran < 25 || valid == 0 {
			t.Errorf("%s: only %d vectors ran, %d of them valid", file, ran, valid)
		}
		t.Logf("%s: %d vectors, %d of them valid for us", file, ran, valid)
	}
}
