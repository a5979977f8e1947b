BIN := $(CURDIR)/.bin
export PATH := $(BIN):$(PATH)
TOOLS := $(BIN)/.stamp
$(TOOLS): tools/go.mod tools/go.sum
	GOWORK=off go -C tools build -o $(BIN)/ tool
	@touch $@
.PHONY: gen
gen: $(TOOLS) ## Generate code from proto/
	buf generate
