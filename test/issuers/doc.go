// Package issuers holds tests alone: the TokenIssuers of docs/issuers.md, read from that page, against key sets and tokens of each issuer's
// own shape. From the page's text to the verdict nothing is replaced but where the keys come from.
package issuers
