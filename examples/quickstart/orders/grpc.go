package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/credence-mesh/credence/examples/quickstart/service"
	"github.com/credence-mesh/credence/examples/quickstart/shoppb"
)

// orders is the gRPC side. It knows no more of identities than the HTTP side: the mesh tells it in headers, which gRPC calls metadata.
type orders struct {
	shoppb.UnimplementedOrdersServer
}

// serveGRPC answers on $LISTEN_GRPC until stop is called.
func serveGRPC(ctx context.Context) (stop func()) {
	l, err := service.Listen(ctx, "LISTEN_GRPC")
	if err != nil {
		log.Fatal(err)
	}
	srv := grpc.NewServer()
	shoppb.RegisterOrdersServer(srv, orders{})
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }() // ends with Stop
	return func() {
		srv.Stop()
		if err := <-ended; err != nil {
			log.Print(err)
		}
	}
}

func order(ctx context.Context, id string) *shoppb.Order {
	md, _ := metadata.FromIncomingContext(ctx)
	return &shoppb.Order{
		Id: id, User: strings.Join(md.Get("x-credence-subject"), ","), Caller: strings.Join(md.Get("x-credence-peer"), ","),
	}
}

// GetOrder implements shoppb.OrdersServer.
func (orders) GetOrder(ctx context.Context, r *shoppb.GetOrderRequest) (*shoppb.Order, error) {
	return order(ctx, r.GetId()), nil
}

// WatchOrders implements shoppb.OrdersServer.
func (orders) WatchOrders(r *shoppb.WatchOrdersRequest, s grpc.ServerStreamingServer[shoppb.Order]) error {
	tick := time.NewTicker(max(time.Millisecond, time.Duration(r.GetIntervalMs())*time.Millisecond))
	defer tick.Stop()
	for i := uint32(0); r.GetCount() == 0 || i < r.GetCount(); i++ {
		if err := s.Send(order(s.Context(), fmt.Sprint(i+1))); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-s.Context().Done():
			return status.FromContextError(s.Context().Err()).Err()
		}
	}
	return nil
}

// AddOrders implements shoppb.OrdersServer.
func (orders) AddOrders(s grpc.ClientStreamingServer[shoppb.Order, shoppb.AddOrdersResponse]) error {
	for n := uint32(0); ; n++ {
		if _, err := s.Recv(); errors.Is(err, io.EOF) {
			return s.SendAndClose(&shoppb.AddOrdersResponse{Count: n})
		} else if err != nil {
			return err
		}
	}
}

// Chat implements shoppb.OrdersServer.
func (orders) Chat(s grpc.BidiStreamingServer[shoppb.Order, shoppb.Order]) error {
	for {
		in, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := s.Send(order(s.Context(), in.GetId())); err != nil {
			return err
		}
	}
}
