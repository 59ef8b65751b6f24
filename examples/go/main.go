// A client of Endcap in Go: example [HOST:PORT]; see ../README.md.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	endcapv1 "endcap/v1"
)

const product = endcapv1.ChildType_CHILD_TYPE_PRODUCT

type client struct {
	collections endcapv1.CollectionServiceClient
	products    endcapv1.ProductServiceClient
}

func named(id, name string) *endcapv1.Collection {
	texts := map[string]*endcapv1.LocalizedText{"en": {DisplayName: name}}
	return &endcapv1.Collection{Id: id, Texts: texts}
}

// get reads a collection.
func (c client) get(ctx context.Context, id string) (*endcapv1.Collection, error) {
	response, err := c.collections.GetCollection(ctx, &endcapv1.GetCollectionRequest{
		Key: &endcapv1.GetCollectionRequest_CollectionId{CollectionId: id},
	})
	return response.GetCollection(), err
}

// list returns the ids of all products, page by page.
func (c client) list(ctx context.Context, id string, pageSize int32) ([]string, error) {
	var ids []string
	request := &endcapv1.ListChildrenRequest{CollectionId: id, ChildType: product, PageSize: pageSize}
	for {
		page, err := c.collections.ListChildren(ctx, request)
		if err != nil {
			return nil, err
		}
		for _, child := range page.Children {
			ids = append(ids, child.Id)
		}
		if page.NextPageToken == "" {
			return ids, nil
		}
		request.PageToken = page.NextPageToken
	}
}

// rename renames the version of the collection that was read. If it has changed, it reads it again.
func (c client) rename(ctx context.Context, collection *endcapv1.Collection, name string) error {
	for {
		_, err := c.collections.UpdateCollection(ctx, &endcapv1.UpdateCollectionRequest{
			Collection: &endcapv1.Collection{
				Id: collection.Id, Etag: collection.Etag, InternalName: name,
			},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"internal_name"}},
		})
		if reason(err) != "ETAG_MISMATCH" {
			return err
		}
		fmt.Println("ABORTED: read again")
		if collection, err = c.get(ctx, collection.Id); err != nil {
			return err
		}
	}
}

// reason is what programs decide by: the endcap.v1.ErrorReason of an error without its prefix.
func reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.Reason
		}
	}
	return ""
}

func costsLessThan(amount string) *endcapv1.Rules {
	return &endcapv1.Rules{Root: &endcapv1.Rule{Rule: &endcapv1.Rule_Condition{
		Condition: &endcapv1.Condition{
			Target:   &endcapv1.Condition_Field{Field: endcapv1.ProductField_PRODUCT_FIELD_PRICE},
			Operator: endcapv1.ConditionOperator_CONDITION_OPERATOR_LESS_THAN,
			Operands: []*endcapv1.Operand{
				{Value: &endcapv1.Operand_Decimal{Decimal: amount}},
			},
		},
	}}}
}

func priced(id, amount string) *endcapv1.Product {
	price := &endcapv1.ProductPrice{Id: "eur", Amount: amount, Currency: "EUR"}
	return &endcapv1.Product{Id: id, Title: id, Prices: []*endcapv1.ProductPrice{price}}
}

func run(ctx context.Context, c client) error {
	const shelf, bargains = "go-shelf", "go-bargains"

	created, err := c.collections.CreateCollection(ctx, &endcapv1.CreateCollectionRequest{
		Collection: named(shelf, "Shelf"),
		// A retry with the same key has one effect.
		RequestId: fmt.Sprintf("create-%s-%d", shelf, os.Getpid()),
	})
	if err != nil {
		return err
	}
	_, err = c.collections.MutateChildren(ctx, &endcapv1.MutateChildrenRequest{
		CollectionId: shelf,
		ChildType:    product,
		Mutations: []*endcapv1.ChildMutation{
			{Operation: &endcapv1.ChildMutation_Append_{Append: &endcapv1.ChildMutation_Append{
				Ids: []string{"hat", "towel", "sandals", "parasol", "float"},
			}}},
			{Operation: &endcapv1.ChildMutation_MoveRange_{MoveRange: &endcapv1.ChildMutation_MoveRange{
				FirstIndex: proto.Int32(3),
				LastIndex:  proto.Int32(4),
				Position:   &endcapv1.Position{Position: &endcapv1.Position_Index{Index: 0}},
			}}},
		},
	})
	if err != nil {
		return err
	}
	ids, err := c.list(ctx, shelf, 2)
	if err != nil {
		return err
	}
	fmt.Println("shelf:", strings.Join(ids, " "))

	// The mutation has changed the collection since it was created.
	if err := c.rename(ctx, created.Collection, "The shelf"); err != nil {
		return err
	}

	smart := named(bargains, "Bargains")
	smart.Kind = endcapv1.CollectionKind_COLLECTION_KIND_SMART
	smart.Rules = costsLessThan("20")
	create := &endcapv1.CreateCollectionRequest{Collection: smart}
	if _, err := c.collections.CreateCollection(ctx, create); err != nil {
		return err
	}
	upsert := &endcapv1.UpsertProductsRequest{
		Products: []*endcapv1.Product{priced("go-visor", "9.90"), priced("go-panama", "49")},
	}
	if _, err := c.products.UpsertProducts(ctx, upsert); err != nil {
		return err
	}
	if ids, err = c.list(ctx, bargains, 100); err != nil {
		return err
	}
	fmt.Println("bargains:", strings.Join(ids, " "))

	for _, id := range []string{shelf, bargains} {
		request := &endcapv1.DeleteCollectionRequest{CollectionId: id}
		if _, err := c.collections.DeleteCollection(ctx, request); err != nil {
			return err
		}
	}
	request := &endcapv1.DeleteProductsRequest{Ids: []string{"go-visor", "go-panama"}}
	_, err = c.products.DeleteProducts(ctx, request)
	return err
}

func main() {
	address := "localhost:50051"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	// Without the deadline a call may wait for ever.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if key := os.Getenv("ENDCAP_KEY"); key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
	}
	// Without TLS, for a server on this machine.
	connection, err := grpc.DialContext(ctx, address, grpc.WithInsecure())
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	client := client{
		collections: endcapv1.NewCollectionServiceClient(connection),
		products:    endcapv1.NewProductServiceClient(connection),
	}
	if err := run(ctx, client); err != nil {
		log.Fatal(err)
	}
}
