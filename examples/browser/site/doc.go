// Package site is what examples/browser serves: a page at one origin, and the API behind the gateway at another.
package site
