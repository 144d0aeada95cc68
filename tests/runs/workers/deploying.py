"""`python -m deployments.deploy` again and again without its seconds of imports.

Each line of stdin is a JSON object, the variables of one deployment; its exit code is a line of stdout. Prefect has
read its own settings by then: the server is the same each time.
"""

import json
import os
import sys
import traceback

from deployments.deploy import main

for line in sys.stdin:
    if (child := os.fork()) == 0:
        os.environ.clear()
        os.environ.update(json.loads(line))
        try:
            main()
        except Exception:  # noqa: BLE001  # the test that asked fails by the exit code
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201  # the answer
