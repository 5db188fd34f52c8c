package simfleet

import (
	"maps"
	"slices"
)

var ec2ImageChanges = map[string]operation{"DeregisterImage": deregisterImage}

// describeImages lists the images that can be launched. One that is named and is
// not there is an error, as at EC2.
func describeImages(c *call) (any, error) {
	ids := c.list("ImageId")
	if len(ids) == 0 {
		all := map[string]bool{}
		for _, name := range slices.Sorted(maps.Keys(systemNamed)) {
			all[imageID(c.region.Name, name)] = true
		}
		for _, in := range c.region.Instances {
			all[in.Host.ImageID] = true
		}
		maps.DeleteFunc(all, func(id string, _ bool) bool { return id == "" || c.region.Deregistered[id] })
		ids = slices.Sorted(maps.Keys(all))
	}
	type image struct {
		ID    string `xml:"imageId"`
		State string `xml:"imageState"`
		Name  string `xml:"name"`
		Owner string `xml:"imageOwnerId"`
	}
	var out struct {
		Images itemSet[image] `xml:"imagesSet"`
	}
	for _, id := range ids {
		os, ok := c.w.systemOf(c.region, id)
		if !ok {
			return nil, refuse("InvalidAMIID.NotFound", "The image id '[%s]' does not exist", id)
		}
		out.Images.Items = append(out.Images.Items, image{id, "available", os.Family + "-" + os.Version, "amazon"})
	}
	return out, nil
}

func deregisterImage(c *call) (any, error) {
	id := c.form.Get("ImageId")
	if _, ok := c.w.systemOf(c.region, id); !ok {
		return nil, refuse("InvalidAMIID.NotFound", "The image id '[%s]' does not exist", id)
	}
	gone := maps.Clone(c.region.Deregistered)
	if gone == nil {
		gone = map[string]bool{}
	}
	gone[id] = true
	c.region.Deregistered = gone
	return struct {
		Return bool `xml:"return"`
	}{true}, nil
}
