package gate

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The parts of admission.k8s.io/v1 that the webhook reads and writes. They are
// written down here because k8s.io/api adds 14 modules and 7 MB to the command
// for them, and because images are looked for in every list of a pod's
// specification, also in those that some version of those types does not know.
const (
	admissionVersion = "admission.k8s.io/v1"
	admissionKind    = "AdmissionReview"
)

type admissionReview struct {
	APIVersion string             `json:"apiVersion"`
	Kind       string             `json:"kind"`
	Request    *admissionRequest  `json:"request,omitzero"`
	Response   *admissionResponse `json:"response,omitzero"`
}

type admissionRequest struct {
	UID       string         `json:"uid"`
	Kind      groupKind      `json:"kind"`
	Namespace string         `json:"namespace"`
	Name      string         `json:"name"`
	Operation string         `json:"operation"`
	Object    jsontext.Value `json:"object"`
	OldObject jsontext.Value `json:"oldObject"`
}

type groupKind struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
}

func (k groupKind) String() string {
	if k.Group == "" {
		return k.Version + " " + k.Kind
	}
	return k.Group + "/" + k.Version + " " + k.Kind
}

type admissionResponse struct {
	UID      string           `json:"uid"`
	Allowed  bool             `json:"allowed"`
	Status   *admissionStatus `json:"status,omitzero"`
	Warnings []string         `json:"warnings,omitempty"`
}

type admissionStatus struct {
	Code    int    `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// parseReview reads a request of the API server, which must be of the one
// version that there is.
func parseReview(body []byte) (*admissionRequest, error) {
	var r admissionReview
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("parsing the AdmissionReview: %w", err)
	}
	switch {
	case r.APIVersion != admissionVersion || r.Kind != admissionKind:
		return nil, fmt.Errorf("a %.60q of %.60q is not taken: want %s of %s (admissionReviewVersions: [v1])", r.Kind, r.APIVersion, admissionKind, admissionVersion)
	case r.Request == nil:
		return nil, errors.New("the AdmissionReview has no request")
	case r.Request.UID == "":
		return nil, errors.New("the AdmissionReview's request has no uid")
	}
	return r.Request, nil
}

// podSpecs says where the kinds that make pods have the pod's specification.
var podSpecs = map[groupKind][]string{
	{"", "v1", "Pod"}:                   {"spec"},
	{"", "v1", "PodTemplate"}:           {"template", "spec"},
	{"", "v1", "ReplicationController"}: {"spec", "template", "spec"},
	{"apps", "v1", "Deployment"}:        {"spec", "template", "spec"},
	{"apps", "v1", "ReplicaSet"}:        {"spec", "template", "spec"},
	{"apps", "v1", "StatefulSet"}:       {"spec", "template", "spec"},
	{"apps", "v1", "DaemonSet"}:         {"spec", "template", "spec"},
	{"batch", "v1", "Job"}:              {"spec", "template", "spec"},
	{"batch", "v1", "CronJob"}:          {"spec", "jobTemplate", "spec", "template", "spec"},
}

// usedImage is an image that an object names, and where.
type usedImage struct{ reference, where string }

// maxImages bounds the images of one object.
const maxImages = 200

// newImages returns the images that a request brings into the cluster, each
// once. Those that the object had before are none of them: an object must stay
// changeable, and removable, when its images are not accepted any more.
func newImages(r *admissionRequest) ([]usedImage, error) {
	where, known := podSpecs[r.Kind]
	switch {
	case !known:
		return nil, fmt.Errorf("the gate does not know where a %s has its images: register the webhook for pods and the kinds of docs/gate.md alone", r.Kind)
	case r.Operation == "DELETE":
		return nil, nil
	case r.Operation != "CREATE" && r.Operation != "UPDATE":
		return nil, fmt.Errorf("the gate decides about CREATE and UPDATE, not %.40q: register the webhook for these alone", r.Operation)
	}
	images, err := imagesOf(r.Object, where)
	if err != nil {
		return nil, fmt.Errorf("reading the %s: %w", r.Kind, err)
	}
	if r.Operation == "UPDATE" {
		before, err := imagesOf(r.OldObject, where)
		if err != nil {
			return nil, fmt.Errorf("reading the %s as it was: %w", r.Kind, err)
		}
		images = slices.DeleteFunc(images, func(i usedImage) bool {
			return slices.ContainsFunc(before, func(b usedImage) bool { return b.reference == i.reference })
		})
	}
	if len(images) > maxImages {
		return nil, fmt.Errorf("%d images are over the limit of %d", len(images), maxImages)
	}
	return images, nil
}

// imagesOf returns the images of the pod specification at a path in an object.
func imagesOf(object jsontext.Value, path []string) ([]usedImage, error) {
	for _, member := range path {
		var members map[string]jsontext.Value
		if err := json.Unmarshal(object, &members); err != nil {
			return nil, fmt.Errorf("looking for %s: %w", member, err)
		}
		if object = members[member]; object == nil {
			return nil, fmt.Errorf("it has no %s", member)
		}
	}
	var spec map[string]jsontext.Value
	if err := json.Unmarshal(object, &spec); err != nil {
		return nil, fmt.Errorf("reading the pod's specification: %w", err)
	}
	if spec["containers"].Kind() != '[' {
		return nil, errors.New("the pod's specification has no containers")
	}
	var images []usedImage
	seen := make(map[string]bool)
	for _, list := range slices.Sorted(maps.Keys(spec)) {
		found, err := imagesOfList(list, spec[list])
		if err != nil {
			return nil, err
		}
		for _, i := range found {
			if !seen[i.reference] {
				seen[i.reference] = true
				images = append(images, i)
			}
		}
	}
	if len(images) == 0 { // what decides about nothing must not allow anything
		return nil, errors.New("the pod's specification names no image")
	}
	return images, nil
}

// imagesOfList returns the images that the elements of a member of a pod's
// specification name: containers as image, volumes as image.reference. All lists
// are looked at, so that one that a later Kubernetes adds is not overlooked.
func imagesOfList(list string, v jsontext.Value) ([]usedImage, error) {
	if v.Kind() != '[' {
		return nil, nil
	}
	var elements []jsontext.Value
	if err := json.Unmarshal(v, &elements); err != nil {
		return nil, fmt.Errorf("reading %s: %w", list, err)
	}
	var images []usedImage
	for i, element := range elements {
		if element.Kind() != '{' {
			continue
		}
		var e struct {
			Name  jsontext.Value `json:"name"`
			Image jsontext.Value `json:"image"`
		}
		where := fmt.Sprintf("%s[%d]", list, i)
		if err := json.Unmarshal(element, &e); err != nil {
			return nil, fmt.Errorf("reading %s: %w", where, err)
		}
		if e.Name != nil {
			where = fmt.Sprintf("%s %.80s", list, e.Name)
		}
		reference, err := referenceOf(e.Image)
		switch {
		case err != nil:
			return nil, fmt.Errorf("reading the image of %s: %w", where, err)
		case reference != "":
			images = append(images, usedImage{reference, where})
		case e.Image != nil || list == "containers" || list == "initContainers" || list == "ephemeralContainers":
			return nil, fmt.Errorf("%s names no image", where)
		}
	}
	return images, nil
}

// referenceOf reads an image member: a text, or an object with a reference.
func referenceOf(v jsontext.Value) (string, error) {
	if v == nil {
		return "", nil
	}
	var text string
	if v.Kind() == '"' {
		err := json.Unmarshal(v, &text)
		return text, err
	}
	var source struct {
		Reference string `json:"reference"`
	}
	err := json.Unmarshal(v, &source)
	return source.Reference, err
}
