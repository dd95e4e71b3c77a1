// A gRPC service in Go that latchkey protects: an interceptor asks VerifyKey about the API key of each call.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"strings"
	"time"

	latchkeyv1 "example.com/shop/gen/latchkey/v1"
	shopv1 "example.com/shop/gen/shop/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

func main() {
	address := strings.TrimPrefix(cmp.Or(os.Getenv("LATCHKEY_ADDRESS"), "http://127.0.0.1:8080"), "http://")
	latchkey, err := grpc.NewClient(address,
		// On loopback. Across a network use TLS.
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(bearer(os.Getenv("LATCHKEY_CREDENTIAL"))),
		// Notices within 13 s that a connection is dead. 10 s is the least that grpc-go allows.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second}))
	if err != nil {
		log.Fatal(err)
	}
	keys := latchkeyv1.NewKeyServiceClient(latchkey)

	server := grpc.NewServer(grpc.UnaryInterceptor(requireAPIKey(keys, &latchkeyv1.VerifyKeyRequest{
		AllowedTiers:   []string{"pro", "enterprise"},
		RequiredScopes: []string{"orders:read"},
	})))
	shopv1.RegisterOrdersServer(server, orders{})
	listener, err := net.Listen("tcp", "127.0.0.1:"+cmp.Or(os.Getenv("PORT"), "3000"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())
	log.Fatal(server.Serve(listener))
}

type orders struct {
	shopv1.UnimplementedOrdersServer
}

func (orders) ListOrders(ctx context.Context, _ *shopv1.ListOrdersRequest) (*shopv1.ListOrdersResponse, error) {
	return &shopv1.ListOrdersResponse{KeyId: keyOf(ctx).GetId()}, nil
}

// requireAPIKey judges each call by its key and by rules. Without a verdict it refuses the call as UNAVAILABLE, because
// an error of latchkey says nothing about the key.
func requireAPIKey(keys latchkeyv1.KeyServiceClient, rules *latchkeyv1.VerifyKeyRequest) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, call *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		sent := metadata.ValueFromIncomingContext(ctx, "x-api-key")
		if len(sent) != 1 {
			return nil, status.Error(codes.Unauthenticated, "send one API key in x-api-key")
		}
		within, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		answer, err := keys.VerifyKey(within, &latchkeyv1.VerifyKeyRequest{
			ApiKey:         sent[0],
			AllowedTiers:   rules.AllowedTiers,
			RequiredScopes: rules.RequiredScopes,
			ClientIp:       addressOf(ctx),
			Method:         call.FullMethod,
		})
		if err != nil {
			log.Print("no verdict: ", err)
			return nil, status.Error(codes.Unavailable, "the API key could not be checked; try again")
		}
		if !answer.GetValid() {
			return nil, refusal(answer)
		}
		return next(context.WithValue(ctx, keyInContext{}, answer.GetKey()), request)
	}
}

// refusal says why a key is refused. A verdict that this program does not know is a refusal too.
func refusal(answer *latchkeyv1.VerifyKeyResponse) error {
	switch verdict := answer.GetVerdict(); verdict {
	case latchkeyv1.Verdict_VERDICT_INVALID, latchkeyv1.Verdict_VERDICT_DISABLED, latchkeyv1.Verdict_VERDICT_REVOKED,
		latchkeyv1.Verdict_VERDICT_EXPIRED:
		return status.Error(codes.Unauthenticated, verdict.String())
	case latchkeyv1.Verdict_VERDICT_RATE_LIMITED:
		refused := status.New(codes.ResourceExhausted, verdict.String())
		if detailed, err := refused.WithDetails(&errdetails.RetryInfo{RetryDelay: answer.GetRetryAfter()}); err == nil {
			refused = detailed
		}
		return refused.Err()
	default:
		return status.Error(codes.PermissionDenied, verdict.String())
	}
}

type keyInContext struct{}

// keyOf returns the key that the call was made with.
func keyOf(ctx context.Context) *latchkeyv1.Key {
	key, _ := ctx.Value(keyInContext{}).(*latchkeyv1.Key)
	return key
}

func addressOf(ctx context.Context) string {
	if sender, ok := peer.FromContext(ctx); ok {
		host, _, _ := net.SplitHostPort(sender.Addr.String())
		return host
	}
	return ""
}

// bearer is a service credential with the scope verify. It goes with each call.
type bearer string

func (credential bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(credential)}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }
