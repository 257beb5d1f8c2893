// Package testenv runs the whole product in the process of a test, on free ports, with real Envoys: what app.Up does for `credence up`,
// below a directory of its own, ended with the test. A product that ends by itself, or ends badly, fails the test.
//
//	e := testenv.Start(t, testenv.Options{Manifests: map[string]string{"mesh.yaml": mesh}})
//	reply, err := testenv.Get(ctx, testenv.Request{Addr: e.Gateway("edge", "plain"), Path: "/orders"})
package testenv
