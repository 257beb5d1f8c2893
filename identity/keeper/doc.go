// Package keeper holds the current X.509-SVID, with its key, of every SPIFFE ID that is in use on this node.
//
// It makes the keys, has them signed by an Authority, and replaces them at half of their life, earlier by up to a tenth so that
// not all are replaced together. An SVID that nobody has asked for since it was made is dropped instead of replaced. Keys
// live in memory only. Who may have an SVID is decided by its callers, before every Get.
package keeper
