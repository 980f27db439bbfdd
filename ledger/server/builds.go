package server

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cairnlog/cairn/ledger/reason"
	cairnv1 "github.com/cairnlog/cairn/proto/cairn/v1"
)

// Builds is the service of a queue of builds, with its metrics. Drain ends the
// calls that wait for something to happen; it is called once, at shutdown.
type Builds interface {
	cairnv1.BuildServiceServer
	prometheus.Collector
	Drain()
}

// noBuilds is the service of a ledger without a queue: it says so, with a
// reason, where gRPC would only say that it knows no such service.
type noBuilds struct {
	cairnv1.UnimplementedBuildServiceServer
}

var errNoBuilds = reason.Errorf(reason.BuildsAbsent, "this ledger keeps no queue of builds")

func (noBuilds) Drain()                           {}
func (noBuilds) Describe(chan<- *prometheus.Desc) {}
func (noBuilds) Collect(chan<- prometheus.Metric) {}

func (noBuilds) QueueBuild(context.Context, *cairnv1.QueueBuildRequest) (*cairnv1.QueueBuildResponse, error) {
	return nil, errNoBuilds
}

func (noBuilds) GetBuild(context.Context, *cairnv1.GetBuildRequest) (*cairnv1.GetBuildResponse, error) {
	return nil, errNoBuilds
}

func (noBuilds) ListBuilds(context.Context, *cairnv1.ListBuildsRequest) (*cairnv1.ListBuildsResponse, error) {
	return nil, errNoBuilds
}

func (noBuilds) CancelBuild(context.Context, *cairnv1.CancelBuildRequest) (*cairnv1.CancelBuildResponse, error) {
	return nil, errNoBuilds
}

func (noBuilds) StreamBuildLog(*cairnv1.StreamBuildLogRequest, cairnv1.BuildService_StreamBuildLogServer) error {
	return errNoBuilds
}

func (noBuilds) LeaseBuild(context.Context, *cairnv1.LeaseBuildRequest) (*cairnv1.LeaseBuildResponse, error) {
	return nil, errNoBuilds
}

func (noBuilds) RenewLease(context.Context, *cairnv1.RenewLeaseRequest) (*cairnv1.RenewLeaseResponse, error) {
	return nil, errNoBuilds
}

func (noBuilds) AppendBuildLog(context.Context, *cairnv1.AppendBuildLogRequest) (*cairnv1.AppendBuildLogResponse, error) {
	return nil, errNoBuilds
}

func (noBuilds) CompleteBuild(context.Context, *cairnv1.CompleteBuildRequest) (*cairnv1.CompleteBuildResponse, error) {
	return nil, errNoBuilds
}
