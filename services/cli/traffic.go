package cli

import (
	"context"
	"strings"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/clientending"
)

// trafficFlags say what holds for all traffic of a version, beside the plans that
// subscribers choose.
type trafficFlags struct {
	TrafficPlan      *string  `placeholder:"PLAN" help:"Plan of all the version's traffic together; empty for none."`
	Subscriptionless *bool    `negatable:"" help:"Whether any valid token enters, without a subscription."`
	MaxMessage       *string  `placeholder:"BYTES" help:"Greatest message, such as 64KiB; 0 for that of the gateway."`
	Ending           []string `sep:"none" placeholder:"ENDING" help:"What clients get when their session ends: CAUSE=CODE, CAUSE=CODE:TEXT or CAUSE=:TEXT, with a text message before the close; CAUSE is drain, backend-gone, revoked, expired, blocked or throttled; can be repeated; empty for none. Replaces all."`
	ErrorFrames      *string  `placeholder:"KIND" help:"What clients are told when a message is dropped: json, wso2 (as WSO2 API Manager does), none, text=TEXT, or default: json where no sub-protocol was agreed, otherwise none."`
}

// setTraffic puts what is given into a version, and returns the fields that it is for.
func (f *trafficFlags) setTraffic(ctx context.Context, cl *client, v *catalogv1.Version) (paths []string, err error) {
	if f.TrafficPlan != nil {
		if *f.TrafficPlan != "" {
			if v.TrafficPlan, err = cl.plan(ctx, "--traffic-plan", *f.TrafficPlan); err != nil {
				return nil, err
			}
		}
		paths = append(paths, "traffic_plan")
	}
	if f.Subscriptionless != nil {
		v.Subscriptionless = *f.Subscriptionless
		paths = append(paths, "subscriptionless")
	}
	if f.MaxMessage != nil {
		if *f.MaxMessage != "0" {
			if v.MaxMessageBytes, err = amountOf(*f.MaxMessage, catalogv1.Unit_UNIT_BYTES); err != nil {
				return nil, usagef("--max-message: %v, or 0 for that of the gateway", err)
			}
		}
		paths = append(paths, "max_message_bytes")
	}
	if len(f.Ending) > 0 {
		for _, text := range some(f.Ending) {
			e, err := clientending.Parse(text)
			if err != nil {
				return nil, usagef("--ending: %q %v", text, err)
			}
			v.ClientEndings = append(v.ClientEndings, e)
		}
		paths = append(paths, "client_endings")
	}
	if f.ErrorFrames != nil {
		if v.ErrorFrames, err = errorFrames(*f.ErrorFrames); err != nil {
			return nil, err
		}
		paths = append(paths, "error_frames")
	}
	return paths, nil
}

// errorFrames reads json, wso2, none, text=TEXT or default.
func errorFrames(text string) (*catalogv1.ErrorFrames, error) {
	if own, ok := strings.CutPrefix(text, "text="); ok {
		return &catalogv1.ErrorFrames{Template: catalogv1.ErrorFrames_TEMPLATE_TEXT, Text: own}, nil
	}
	switch text {
	case "default":
		return nil, nil
	case "json", "wso2", "none":
		template := catalogv1.ErrorFrames_Template_value["TEMPLATE_"+strings.ToUpper(text)]
		return &catalogv1.ErrorFrames{Template: catalogv1.ErrorFrames_Template(template)}, nil
	}
	return nil, usagef("--error-frames: %q is none of json, wso2, none, text=TEXT, default", text)
}

// errorFramesWords is what clients are told, in words; empty for the default.
func errorFramesWords(f *catalogv1.ErrorFrames) string {
	if f.GetTemplate() == catalogv1.ErrorFrames_TEMPLATE_TEXT {
		return "text " + f.GetText()
	}
	return option(f.GetTemplate() == 0, f.GetTemplate(), "TEMPLATE_")
}

// maxMessage is the greatest message of a version, in words; empty for that of the gateway.
func maxMessage(v *catalogv1.Version) string {
	if v.GetMaxMessageBytes() == 0 {
		return ""
	}
	return sizeWords(v.GetMaxMessageBytes())
}

// endingWords are what clients get at ends of sessions.
func endingWords(all []*catalogv1.ClientEnding) string {
	var words []string
	for _, e := range all {
		words = append(words, clientending.Text(e))
	}
	return strings.Join(words, ", ")
}
