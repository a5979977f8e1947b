package usage

import (
	"context"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// ReportUsage takes in a batch of usage, once.
func (a *API) ReportUsage(ctx context.Context, req *backplanev1.ReportUsageRequest) (*backplanev1.ReportUsageResponse, error) {
	b := batchRow(req.GetBatch())
	rows, err := usageRows(req.GetUsage())
	if err != nil {
		return nil, err
	}
	result, err := a.store.AddUsage(ctx, b, rows)
	if err != nil {
		return nil, err
	}
	a.missing(ctx, "usage", b, result)
	return &backplanev1.ReportUsageResponse{Duplicate: result.Duplicate}, nil
}

// ReportSessionRecords takes in a batch of session records, once.
func (a *API) ReportSessionRecords(ctx context.Context, req *backplanev1.ReportSessionRecordsRequest) (*backplanev1.ReportSessionRecordsResponse, error) {
	b := batchRow(req.GetBatch())
	rows, err := recordRows(req.GetSessionRecords())
	if err != nil {
		return nil, err
	}
	result, err := a.store.AddRecords(ctx, b, rows)
	if err != nil {
		return nil, err
	}
	a.missing(ctx, "session records", b, result)
	if result.LeftOut > 0 {
		a.log.WarnContext(ctx, "session records left out", "gateway", b.Gateway, "count", result.LeftOut)
	}
	return &backplanev1.ReportSessionRecordsResponse{Duplicate: result.Duplicate}, nil
}

// ReportLeftOut takes in a batch of counts of records that a gateway did not keep, once.
func (a *API) ReportLeftOut(ctx context.Context, req *backplanev1.ReportLeftOutRequest) (*backplanev1.ReportLeftOutResponse, error) {
	b := batchRow(req.GetBatch())
	counts, total, err := leftOutRows(req.GetLeftOut())
	if err != nil {
		return nil, err
	}
	result, err := a.store.AddLeftOut(ctx, b, counts)
	if err != nil {
		return nil, err
	}
	a.missing(ctx, "counts of records left out", b, result)
	if !result.Duplicate {
		a.log.WarnContext(ctx, "session records left out", "gateway", b.Gateway, "count", total)
	}
	return &backplanev1.ReportLeftOutResponse{Duplicate: result.Duplicate}, nil
}

// missing logs a gap before a batch. A gateway sends a batch only after the
// previous one was acknowledged, so the batches in the gap were taken in and then
// lost with the database's last commits. Nobody can send them again, and refusing
// the later ones would lose those too.
func (a *API) missing(ctx context.Context, what string, b store.Batch, result store.BatchResult) {
	if result.Missing > 0 {
		a.log.WarnContext(ctx, "batches of a gateway are missing", "of", what, "gateway", b.Gateway, "boot", b.BootID,
			"before", b.Sequence, "missing", result.Missing)
	}
}
