package svid

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

const uriTag = 6 // GeneralName.uniformResourceIdentifier, RFC 5280 §4.2.1.6

type extension struct {
	present  bool
	critical bool
	value    []byte
}

func find(cert *x509.Certificate, oid asn1.ObjectIdentifier) extension {
	for _, e := range cert.Extensions {
		if e.Id.Equal(oid) {
			return extension{present: true, critical: e.Critical, value: e.Value}
		}
	}
	return extension{}
}

func oidSubjectAltName() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 5, 29, 17} }
func oidKeyUsage() asn1.ObjectIdentifier       { return asn1.ObjectIdentifier{2, 5, 29, 15} }

// CheckLeaf checks everything of X509-SVID §2 to §4 that one leaf certificate shows by itself, and returns its ID. It checks no
// signature and no time: see Verify. Errors wrap ErrSVID or ErrID.
func CheckLeaf(cert *x509.Certificate) (spiffeid.ID, error) {
	uris, critical, err := uriNames(cert)
	if err != nil {
		return spiffeid.ID{}, err
	}
	if len(uris) != 1 {
		return spiffeid.ID{}, fmt.Errorf("%w: %d URI names, exactly one is allowed", ErrSVID, len(uris))
	}
	id, err := ParseID(uris[0])
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("%w: %w", ErrSVID, err)
	}
	if emptySubject(cert) && !critical {
		return spiffeid.ID{}, fmt.Errorf("%w: no subject and the subject alternative name is not critical", ErrSVID)
	}
	if err := checkUsage(cert); err != nil {
		return spiffeid.ID{}, err
	}
	return id, nil
}

func checkUsage(cert *x509.Certificate) error {
	switch {
	case !cert.BasicConstraintsValid:
		return fmt.Errorf("%w: no basic constraints", ErrSVID)
	case cert.IsCA:
		return fmt.Errorf("%w: a CA certificate must not authenticate a workload", ErrSVID)
	}
	usage := find(cert, oidKeyUsage())
	switch {
	case !usage.present:
		return fmt.Errorf("%w: no key usage", ErrSVID)
	case !usage.critical:
		return fmt.Errorf("%w: key usage is not critical", ErrSVID)
	case cert.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return fmt.Errorf("%w: key usage lacks digitalSignature", ErrSVID)
	case cert.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return fmt.Errorf("%w: key usage allows the signing of certificates or CRLs", ErrSVID)
	}
	if len(cert.ExtKeyUsage)+len(cert.UnknownExtKeyUsage) == 0 {
		return nil
	}
	for _, want := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if !slices.Contains(cert.ExtKeyUsage, want) {
			return fmt.Errorf("%w: extended key usage lacks serverAuth or clientAuth", ErrSVID)
		}
	}
	return nil
}

// URINames are the URI names of a certificate to the letter. Errors wrap ErrSVID.
func URINames(cert *x509.Certificate) ([]string, error) {
	uris, _, err := uriNames(cert)
	return uris, err
}

// uriNames reads the URI names from the bytes of the extension: url.URL would re-print some of them differently.
func uriNames(cert *x509.Certificate) (uris []string, critical bool, err error) {
	ext := find(cert, oidSubjectAltName())
	if !ext.present {
		return nil, false, nil
	}
	var names asn1.RawValue
	rest, err := asn1.Unmarshal(ext.value, &names)
	if err != nil || len(rest) != 0 || !names.IsCompound || names.Tag != asn1.TagSequence || names.Class != asn1.ClassUniversal {
		return nil, false, fmt.Errorf("%w: broken subject alternative name", ErrSVID)
	}
	for rest = names.Bytes; len(rest) > 0; {
		var name asn1.RawValue
		if rest, err = asn1.Unmarshal(rest, &name); err != nil {
			return nil, false, fmt.Errorf("%w: broken subject alternative name: %w", ErrSVID, err)
		}
		if name.Class == asn1.ClassContextSpecific && name.Tag == uriTag {
			uris = append(uris, string(name.Bytes))
		}
	}
	return uris, ext.critical, nil
}

func emptySubject(cert *x509.Certificate) bool {
	return len(cert.RawSubject) <= 2 // an empty SEQUENCE is two bytes
}
