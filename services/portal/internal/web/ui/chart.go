package ui

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// Chart is a chart of lines over time. It is drawn on the server, and its colours are
// classes of the style sheet.
type Chart struct {
	// ID is unique on the page.
	ID string
	// Title and Desc say what it shows to those who do not see it.
	Title, Desc string
	// Labels stand below, one for each point or empty for none.
	Labels []string
	// First and Second are the lines; Second may be empty.
	First, Second []int64
}

// The sizes of a chart for wide and for narrow screens, and what is left for its labels.
const (
	wideWidth, wideHeight     = 720, 220
	narrowWidth, narrowHeight = 330, 190
	chartLeft, chartRight     = 40, 6
	chartTop, chartBottom     = 8, 24
	// chartLabels is how many labels there are at most; fewer where it is narrow.
	chartLabels = 6
)

// SVG draws the chart twice: one of them is shown, as the screen is wide.
func (c Chart) SVG() template.HTML {
	var out strings.Builder
	c.draw(&out, "wide", wideWidth, wideHeight, chartLabels)
	c.draw(&out, "narrow", narrowWidth, narrowHeight, chartLabels/2)
	return template.HTML(out.String())
}

func (c Chart) draw(out *strings.Builder, class string, width, height, labels int) {
	id := template.HTMLEscapeString(c.ID + "-" + class)
	fmt.Fprintf(out, `<svg class="chart %s" viewBox="0 0 %d %d" role="img" aria-labelledby="%s-t %s-d"><title id="%s-t">%s</title><desc id="%s-d">%s</desc>`,
		class, width, height, id, id, id, template.HTMLEscapeString(c.Title), id, template.HTMLEscapeString(c.Desc))
	top := niceTop(append(append([]int64{0}, c.First...), c.Second...))
	x := func(i int) float64 {
		return chartLeft + float64(i)*float64(width-chartLeft-chartRight)/float64(max(len(c.First)-1, 1))
	}
	y := func(v int64) float64 {
		return float64(height-chartBottom) - float64(v)/float64(top)*float64(height-chartTop-chartBottom)
	}
	for i := range int64(5) {
		at := y(top * i / 4)
		fmt.Fprintf(out, `<path class="grid" d="M%d %.1fH%d"/><text class="tick" x="%d" y="%.1f" text-anchor="end">%s</text>`,
			chartLeft, at, width-chartRight, chartLeft-8, at+4, Short(top*i/4))
	}
	step := max((len(c.Labels)+labels-1)/labels, 1)
	for i := 0; i < len(c.Labels); i += step {
		anchor := "middle"
		if i == 0 {
			anchor = "start"
		}
		fmt.Fprintf(out, `<text class="tick" x="%.1f" y="%d" text-anchor="%s">%s</text>`, x(i), height-4, anchor, template.HTMLEscapeString(c.Labels[i]))
	}
	if len(c.First) > 0 {
		first := linePath(c.First, x, y)
		fmt.Fprintf(out, `<path class="fill" d="%sV%dH%d"/>`, first, height-chartBottom, chartLeft)
		if len(c.Second) > 0 {
			fmt.Fprintf(out, `<path class="line sent" d="%s"/>`, linePath(c.Second, x, y))
		}
		fmt.Fprintf(out, `<path class="line" d="%s"/>`, first)
	}
	out.WriteString("</svg>")
}

// Spark is a line as small as a word.
func Spark(values []int64) template.HTML {
	top := max(niceTop(values), 1)
	d := linePath(values, func(i int) float64 { return float64(i) * 88 / float64(max(len(values)-1, 1)) },
		func(v int64) float64 { return 20 - float64(v)/float64(top)*18 })
	return template.HTML(`<svg class="spark" viewBox="0 0 88 22" aria-hidden="true"><path d="` + d + `"/></svg>`)
}

func linePath(values []int64, x func(int) float64, y func(int64) float64) string {
	var d strings.Builder
	for i, v := range values {
		mark := "L"
		if i == 0 {
			mark = "M"
		}
		fmt.Fprintf(&d, "%s%.1f %.1f", mark, x(i), y(v))
	}
	return d.String()
}

// niceTop is the upper end of a scale that has all values and four even steps.
func niceTop(values []int64) int64 {
	var most int64
	for _, v := range values {
		most = max(most, v)
	}
	if most <= 4 {
		return 4
	}
	unit := math.Pow(10, math.Floor(math.Log10(float64(most)/4)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if step := m * unit; step*4 >= float64(most) && step == math.Trunc(step) {
			return int64(step * 4)
		}
	}
	return most
}
