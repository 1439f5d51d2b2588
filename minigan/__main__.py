from minigan.run.cli import main

raise SystemExit(main())
