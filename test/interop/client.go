// A client in Go that a test drives: a command in each line of the standard input, and an answer or an event in each
// line of the standard output, as JSON. languages.ts says what the commands and answers are, and judges them.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"os"
	"sync"
	"time"

	latchkeyv1 "example.com/shop/gen/latchkey/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

type command struct {
	ID, Do, Address, Credential, Key, Email, Password string
	Keys                                              []string
	Cost                                              *int32
	DeadlineMs                                        int
	CaFile, CertFile, KeyFile                         string
}

type object = map[string]any

var (
	writing sync.Mutex
	opened  = map[string]*grpc.ClientConn{}
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var asked command
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		channel := channelTo(asked)
		if asked.Do == "watch" {
			go watch(channel, asked)
			continue
		}
		answer := carryOut(channel, asked)
		answer["id"] = asked.ID
		write(answer)
	}
}

func carryOut(channel *grpc.ClientConn, asked command) object {
	ctx, cancel := context.WithTimeout(withCredential(asked), time.Duration(asked.DeadlineMs)*time.Millisecond)
	defer cancel()
	keys := latchkeyv1.NewKeyServiceClient(channel)
	// Waits for the connection after a restart, at most until the deadline.
	wait := grpc.WaitForReady(true)
	switch asked.Do {
	case "verify":
		answer, err := keys.VerifyKey(ctx, &latchkeyv1.VerifyKeyRequest{ApiKey: asked.Key, Cost: asked.Cost}, wait)
		if err != nil {
			return faultOf(err)
		}
		return object{"valid": answer.GetValid(), "verdict": answer.GetVerdict().String(), "keyId": answer.GetKey().GetId()}
	case "batch":
		request := &latchkeyv1.BatchVerifyKeysRequest{}
		for _, key := range asked.Keys {
			request.Requests = append(request.Requests, &latchkeyv1.VerifyKeyRequest{ApiKey: key})
		}
		request.Requests = append(request.Requests, &latchkeyv1.VerifyKeyRequest{ApiKey: asked.Keys[0], Cost: proto.Int32(-1)})
		answer, err := keys.BatchVerifyKeys(ctx, request, wait)
		if err != nil {
			return faultOf(err)
		}
		results := []object{}
		for _, result := range answer.GetResults() {
			if refused := result.GetError(); refused != nil {
				results = append(results, faultOf(status.FromProto(refused).Err()))
			} else {
				results = append(results, object{"verdict": result.GetResponse().GetVerdict().String()})
			}
		}
		return object{"results": results}
	case "login":
		request := &latchkeyv1.LoginRequest{Email: asked.Email, Password: asked.Password}
		answer, err := latchkeyv1.NewAuthServiceClient(channel).Login(ctx, request, wait)
		if err != nil {
			return faultOf(err)
		}
		return object{"userId": answer.GetUser().GetId()}
	}
	panic(asked.Do)
}

// watch follows the stream of changes for good, from the last cursor after each cut.
func watch(channel *grpc.ClientConn, asked command) {
	ctx := withCredential(asked)
	keys := latchkeyv1.NewKeyServiceClient(channel)
	cursor := ""
	for {
		request := &latchkeyv1.WatchRevocationsRequest{Cursor: cursor}
		stream, err := keys.WatchRevocations(ctx, request, grpc.WaitForReady(true))
		for err == nil {
			var message *latchkeyv1.WatchRevocationsResponse
			if message, err = stream.Recv(); err != nil {
				break
			}
			changes := []object{}
			for _, change := range message.GetChanges() {
				changes = append(changes, object{"kind": change.GetKind().String(), "subjectId": change.GetSubjectId()})
			}
			// The changes are handled before the cursor is kept, so that none of them can be lost.
			write(object{"event": "message", "changes": changes, "resync": message.GetResync()})
			if message.GetCursor() != "" {
				cursor = message.GetCursor()
			}
		}
		write(object{"event": "end", "resumes": cursor != "", "error": faultOf(err)["error"]})
		if status.Code(err) != codes.Unavailable {
			return
		}
	}
}

// faultOf returns an error's code and what its details say.
func faultOf(err error) object {
	failed := status.Convert(err)
	fault := object{"code": int(failed.Code())}
	for _, detail := range failed.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			fault["reason"], fault["domain"] = detail.GetReason(), detail.GetDomain()
		case *errdetails.BadRequest:
			fields := []string{}
			for _, violation := range detail.GetFieldViolations() {
				fields = append(fields, violation.GetField())
			}
			fault["fields"] = fields
		case *errdetails.RetryInfo:
			fault["retryDelayMs"] = detail.GetRetryDelay().AsDuration().Milliseconds()
		}
	}
	return object{"error": fault}
}

// channelTo returns the one channel to an address with a certificate. It pings while no call is open too.
func channelTo(asked command) *grpc.ClientConn {
	name := asked.Address + " " + asked.CertFile
	if channel := opened[name]; channel != nil {
		return channel
	}
	channel, err := grpc.NewClient(asked.Address,
		grpc.WithTransportCredentials(transportOf(asked)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 10 * time.Second, Timeout: time.Second, PermitWithoutStream: true,
		}))
	if err != nil {
		panic(err)
	}
	opened[name] = channel
	return channel
}

// transportOf returns TLS with the client's certificate, or plaintext without one.
func transportOf(asked command) credentials.TransportCredentials {
	if asked.CertFile == "" {
		return insecure.NewCredentials()
	}
	authorities, err := os.ReadFile(asked.CaFile)
	if err != nil {
		panic(err)
	}
	certificate, err := tls.LoadX509KeyPair(asked.CertFile, asked.KeyFile)
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authorities)
	return credentials.NewTLS(&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}})
}

func withCredential(asked command) context.Context {
	if asked.Credential == "" {
		return context.Background()
	}
	return metadata.AppendToOutgoingContext(context.Background(), "authorization", "Bearer "+asked.Credential)
}

func write(line object) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	writing.Lock()
	defer writing.Unlock()
	os.Stdout.Write(append(text, '\n'))
}
