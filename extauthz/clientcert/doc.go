// Package clientcert tells users by the certificate of their TLS connection to a gateway, against the CAs of each Credentials by itself:
// that the handshake succeeded says only that some CA of the gateway has signed it.
//
//	v := clientcert.New(clientcert.Options{})
//	v.Publish(set.Credentials)
//	user, err := v.Snapshot().Verify(ctx, urlEncodedPEM, accepted)
//
// CA files are looked at again every two seconds while certificates are verified. One that cannot be used leaves its last good content in
// place; without any, nothing can be told (ErrUnavailable). There is no check of revocation lists: see credence revoke.
package clientcert
