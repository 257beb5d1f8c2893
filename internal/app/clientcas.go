package app

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/credence-mesh/credence/policy"
)

// clientCA are the CAs of one gateway's clients: the last good content of the file, nil before there was any.
type clientCA struct {
	file string
	pem  []byte
	err  string
}

// ApplyClients makes gateways the ones whose clients' CAs are served. A file that does not load leaves its last good content in place;
// without one the gateway's secret never arrives, and no handshake succeeds.
func (c *certificates) ApplyClients(gateways []policy.Gateway) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := map[policy.Name]clientCA{}
	for i := range gateways {
		g := &gateways[i]
		if file := g.Settings.ClientCAFile; file != "" {
			next[g.Name] = clientCA{file: file}
			if old := c.clients[g.Name]; old.file == file {
				next[g.Name] = old
			}
		}
	}
	c.clients = next
	if c.loadClients() {
		c.broadcast()
	}
}

// loadClients reads the files and tells whether anything changed. The caller holds mu.
func (c *certificates) loadClients() bool {
	changed := false
	for n, ca := range c.clients {
		text, err := readCAs(ca.file)
		switch {
		case err != nil:
			if ca.err != err.Error() {
				c.log.Error("the CAs of a gateway's clients can't be used; the last good ones stay", "gateway", n.String(), "error", err, "served", ca.pem != nil)
			}
			ca.err = err.Error()
		case !bytes.Equal(text, ca.pem):
			ca.pem, ca.err, changed = text, "", true
		default:
			ca.err = ""
		}
		c.clients[n] = ca
	}
	return changed
}

// ClientCAs are the CAs of the clients of the gateway n, in PEM.
func (c *certificates) ClientCAs(n policy.Name) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ca, ok := c.clients[n]
	switch {
	case !ok:
		return nil, fmt.Errorf("gateway %s asks no client for a certificate", n)
	case ca.pem == nil:
		return nil, fmt.Errorf("CAs of the clients of gateway %s: %s", n, ca.err)
	}
	return ca.pem, nil
}

// clientProblems say which gateways have no CAs of clients yet, for readiness.
func (c *certificates) clientProblems() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for n, ca := range c.clients {
		if ca.pem == nil {
			out = append(out, fmt.Sprintf("CAs of the clients of gateway %s: %s", n, ca.err))
		}
	}
	return out
}

// readCAs reads a PEM file of CA certificates and nothing else; text between them is dropped.
func readCAs(path string) ([]byte, error) {
	data, err := readPEM(path)
	if err != nil {
		return nil, err
	}
	var out []byte
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s has a block that is no certificate", path)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if !cert.IsCA || !cert.BasicConstraintsValid {
			return nil, fmt.Errorf("%s has a certificate of %q, which is no CA", path, cert.Subject.CommonName)
		}
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes})...)
	}
	if len(out) == 0 {
		return nil, errors.New(path + " has no certificate")
	}
	return out, nil
}
