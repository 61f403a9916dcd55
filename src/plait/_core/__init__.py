"""The pure core: facts with their time go in, commands come out. No clock, I/O, asyncio, threads or chance."""
