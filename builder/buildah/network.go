package main

import (
	"errors"

	nettypes "go.podman.io/common/libnetwork/types"
)

// noNetwork stands where buildah insists on a way to set networks up, although
// no step here ever has one of its own. Each call is an error.
type noNetwork struct{}

var errNoNetwork = errors.New("networks are not set up for build steps")

func (noNetwork) NetworkList(...nettypes.FilterFunc) ([]nettypes.Network, error) {
	return nil, errNoNetwork
}

func (noNetwork) NetworkInspect(string) (nettypes.Network, error) {
	return nettypes.Network{}, errNoNetwork
}

func (noNetwork) Setup(string, nettypes.SetupOptions) (map[string]nettypes.StatusBlock, error) {
	return nil, errNoNetwork
}

func (noNetwork) Teardown(string, nettypes.TeardownOptions) error { return errNoNetwork }
func (noNetwork) Drivers() []string                               { return nil }
func (noNetwork) DefaultNetworkName() string                      { return "none" }
func (noNetwork) NetworkInfo() nettypes.NetworkInfo               { return nettypes.NetworkInfo{} }

func (noNetwork) NetworkCreate(nettypes.Network, *nettypes.NetworkCreateOptions) (nettypes.Network, error) {
	return nettypes.Network{}, errNoNetwork
}

func (noNetwork) NetworkUpdate(string, nettypes.NetworkUpdateOptions) error { return errNoNetwork }
func (noNetwork) NetworkRemove(string) error                                { return errNoNetwork }
func (noNetwork) RunInRootlessNetns(func() error) error                     { return errNoNetwork }
func (noNetwork) RootlessNetnsInfo() (*nettypes.RootlessNetnsInfo, error)   { return nil, errNoNetwork }
