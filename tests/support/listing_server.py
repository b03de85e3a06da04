"""The text of a small MCP server over stdio that lists the tools of a JSON file, read each time.

Every call of a tool succeeds. A tool of the name `announce` has the server announce another list.
"""

SERVER = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    if request.get("method") == "initialize":
        result = {
            "protocolVersion": request["params"]["protocolVersion"],
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "bank", "version": "1"},
        }
    elif request.get("method") == "tools/list":
        result = {"tools": json.load(open(sys.argv[1]))}
    elif request.get("method") == "tools/call":
        result = {"content": [{"type": "text", "text": "done"}]}
        if request["params"]["name"] == "announce":
            note = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
            print(json.dumps(note), flush=True)
    else:
        continue
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
"""
